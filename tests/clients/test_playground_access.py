"""The playground with a keyboard, a screen reader, a phone, in the dark, without motion."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from harness.service import RunningService
from tests.clients.npm_packages import installed
from tests.clients.playground_page import Playground, opened
from tests.clients.programs import FOLDER

IT = "it"
"""The words that stand for a region, unless the user marks others."""
PHONES = (320, 360, 390)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SUM_OF_SHIFTS = """() => {
  window.shifts = 0;
  const add = (list) => list.getEntries().forEach((entry) => (window.shifts += entry.value));
  new PerformanceObserver(add).observe({ type: "layout-shift" });
}"""


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    packages = installed(FOLDER / "browser")
    return (packages / "node_modules" / "axe-core" / "axe.min.js").read_text()


def violations(playground: Playground, axe: str) -> list[str]:
    """Return what axe-core finds on the page as it is now."""
    playground.page.evaluate(axe)
    found = playground.page.evaluate("(rules) => axe.run(document, rules)", RULES)
    assert len(found["passes"]) > 20
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def stay_empty(_: Playground) -> None:
    """The page before a picture."""


def show_boxes(playground: Playground) -> None:
    playground.use_example()
    playground("#answer .phrase").first.hover()


def show_everything(playground: Playground) -> None:
    """A question about a region with all details open, and the field for the key."""
    playground.use_example()
    playground.choose_task("grounded_vqa")
    playground.draw((0.37, 0.3, 0.62, 0.7))
    for summary in [*playground("main summary").all(), playground("header summary")]:
        summary.click()


def show_classes(playground: Playground) -> None:
    playground.use_example(1)
    playground.choose_task("detect")
    playground.run()


def show_a_message(playground: Playground) -> None:
    playground.use_example()
    playground.choose_task("phrase_grounding")
    playground("#text").fill("")
    playground("#run").click()
    playground("#message").wait_for()


def show_published(playground: Playground) -> None:
    playground("#tab-published").click()
    playground("#recorded li").nth(5).wait_for()


STATES = (stay_empty, show_boxes, show_everything, show_classes, show_a_message, show_published)


@pytest.mark.parametrize("show", STATES, ids=lambda show: show.__name__)
def test_axe_finds_nothing_in_light_and_dark(
    playground: Playground, axe: str, show: Callable[[Playground], None]
) -> None:
    show(playground)
    for scheme in ("light", "dark"):
        playground.page.emulate_media(color_scheme=scheme)
        assert violations(playground, axe) == []


@pytest.mark.parametrize("width", PHONES)
def test_a_phone_shows_picture_and_answer_without_scrolling_sideways(
    browser: Any, service: RunningService, axe: str, width: int
) -> None:
    phone = {"viewport": {"width": width, "height": 640}, "has_touch": True, "is_mobile": True}
    with opened(browser, service.url, **phone) as playground:
        playground("#examples button").first.tap()
        playground.wait_until_answered()
        playground.choose_task("detect")
        playground.run()
        widths = playground.page.evaluate("() => [document.body.scrollWidth, window.innerWidth]")
        assert widths == [width, width]
        playground("#boxes .item").last.scroll_into_view_if_needed()
        picture = playground("#stage").bounding_box()
        assert 0 <= picture["y"] < 20  # it stays in sight
        assert violations(playground, axe) == []


def test_a_phone_scrolls_to_a_message(browser: Any, service: RunningService) -> None:
    """The picture, which stays in sight, must not cover it."""
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    with opened(browser, service.url, **phone) as playground:
        playground.use_example()
        playground.choose_task("detect")
        playground("#text").fill(" , ,")
        # The button at the lower edge of the screen.
        playground("#run").evaluate("(button) => button.scrollIntoView({ block: 'end' })")
        playground("#run").tap()
        message, picture = playground("#message"), playground("#stage").bounding_box()
        message.wait_for()
        place = message.bounding_box()
        assert message.text_content().startswith("The list has commas only")
        assert picture["y"] + picture["height"] <= place["y"]
        assert place["y"] + place["height"] <= 640
        assert len(playground.posts) == 1


def test_a_finger_draws_a_region_after_the_button_is_pressed(
    browser: Any, service: RunningService
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    with opened(browser, service.url, **phone) as playground:
        playground.use_example()
        playground("#draw").tap()
        sheet = playground("#stage .sheet").bounding_box()
        touch = playground.page.context.new_cdp_session(playground.page)
        corners = [(0.4, 0.3), (0.5, 0.5), (0.6, 0.7)]
        for kind, (x, y) in zip(("touchStart", "touchMove", "touchMove"), corners, strict=True):
            point = {"x": sheet["x"] + x * sheet["width"], "y": sheet["y"] + y * sheet["height"]}
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert float(playground("#edge-0").input_value()) == pytest.approx(40, abs=1)
        assert float(playground("#edge-3").input_value()) == pytest.approx(70, abs=1)


@pytest.mark.parametrize("forced_colors", ["none", "active"])
def test_a_pressed_button_stays_readable_under_the_pointer(
    browser: Any, service: RunningService, forced_colors: str
) -> None:
    looks = "part => [getComputedStyle(part).color, getComputedStyle(part).backgroundColor]"
    with opened(browser, service.url, forced_colors=forced_colors) as playground:
        playground.use_example()
        playground("#draw").click()
        under_pointer = playground("#draw").evaluate(looks)
        playground("h1").hover()
        assert playground("#draw").evaluate(looks) == under_pointer


def test_forced_colours_show_what_is_chosen(browser: Any, service: RunningService) -> None:
    """The system replaces all backgrounds by one colour, and transparent borders by another."""
    looks = (
        "part => (({ backgroundColor, color }) => backgroundColor + color)(getComputedStyle(part))"
    )
    line = "tab => getComputedStyle(tab).borderBottomColor"
    with opened(browser, service.url, forced_colors="active") as playground:
        for group in ("#tasks", ".segments"):
            chosen = playground(f"{group} input:checked + span").first.evaluate(looks)
            assert chosen != playground(f"{group} input:not(:checked) + span").first.evaluate(looks)
        assert playground("#tab-try").evaluate(line) != playground("#tab-published").evaluate(line)


def test_phrases_from_right_to_left_keep_to_themselves(
    browser: Any, service: RunningService
) -> None:
    """Without isolation, the numbers between two Hebrew names change places with the names."""
    with opened(browser, service.url) as playground:
        playground.use_example()
        playground.choose_task("detect")
        playground("#text").fill("שלום, אדום, red circle")
        playground.run()
        boxes = [phrase.bounding_box() for phrase in playground("#answer .phrase").all()]
        assert len(boxes) == 3
        for left, right in itertools.pairwise(boxes):
            assert left["x"] + left["width"] <= right["x"]


def test_dark_mode_is_dark(browser: Any, service: RunningService) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        with opened(browser, service.url, color_scheme=scheme) as playground:
            colour = playground("body").evaluate("body => getComputedStyle(body).backgroundColor")
            shades[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert shades["dark"] < 150 < 600 < shades["light"]


FOCUS = "(selector) => document.activeElement.matches(selector)"


def press_until(playground: Playground, key: str, selector: str) -> None:
    """Press a key until an element that matches the selector has the focus."""
    for _ in range(60):
        playground.page.keyboard.press(key)
        if playground.page.evaluate(FOCUS, selector):
            return
    raise AssertionError(f"{key} does not reach {selector}")


def test_everything_works_with_the_keyboard_alone(playground: Playground) -> None:
    """Example, task, region by numbers, run, phrases, list and tabs, without a pointer."""
    keyboard = playground.page.keyboard
    press_until(playground, "Tab", "#examples button")
    keyboard.press("Enter")
    playground.wait_until_answered()
    press_until(playground, "Tab", "[value=brief_caption]")
    press_until(playground, "ArrowRight", "[value=grounded_vqa]")
    press_until(playground, "Tab", ".phrase")
    assert playground("#stage .box.active").count() == 2  # of two red circles
    press_until(playground, "Tab", ".use")
    keyboard.press("Enter")  # the region of the question
    assert playground.page.evaluate(FOCUS, "#text")
    keyboard.press("Control+A")
    keyboard.type(f"What color is {IT}?")
    press_until(playground, "Tab", "#edge-0")
    keyboard.press("Control+A")
    keyboard.type("5")
    press_until(playground, "Tab", "#run")
    keyboard.press("Enter")
    playground("#answer .prompt").first.wait_for()
    playground.wait_until_answered()
    [region] = playground.answer["entities"][0]["boxes"]
    assert region["xyxy_normalized"][0] == pytest.approx(0.05, abs=1 / 32)
    press_until(playground, "Shift+Tab", "#tab-try")
    keyboard.press("ArrowRight")
    assert playground.page.evaluate(FOCUS, "#tab-published")
    keyboard.press("Home")
    assert playground.page.evaluate(FOCUS, "#tab-try")
    keyboard.press("End")
    assert playground.page.evaluate(FOCUS, "#tab-published")
    assert playground("#panel-published").is_visible()


COVERED = """() => {
  const focused = document.activeElement;
  if (focused === document.body) return null;
  const part = focused.closest("label") ?? focused;
  const { left, top, width, height } = part.getBoundingClientRect();
  const above = document.elementFromPoint(left + width / 2, top + height / 2);
  return above && (part.contains(above) || above.contains(part)) ? null : part.outerHTML;
}"""


@pytest.mark.parametrize("size", [(320, 640), (360, 740), (768, 1024)])
def test_the_picture_covers_nothing_that_has_the_focus(
    browser: Any, service: RunningService, size: tuple[int, int]
) -> None:
    """On one column the picture stays in sight, above what scrolls below it."""
    viewport = dict(zip(("width", "height"), size, strict=True))
    with opened(browser, service.url, viewport=viewport) as playground:
        playground.use_example()
        covered = []
        for key in ["Tab"] * 40 + ["Shift+Tab"] * 40:
            playground.page.keyboard.press(key)
            covered.append(playground.page.evaluate(COVERED))
        assert [part for part in covered if part is not None] == []


def test_reduced_motion_stops_all_movement(browser: Any, service: RunningService) -> None:
    with opened(browser, service.url, reduced_motion="reduce") as playground:
        playground.use_example()
        playground.choose_task("detailed_caption")
        playground("#run").click()
        playground("#answer .phrase").first.wait_for()
        assert playground.page.evaluate("() => document.getAnimations().length") == 0
        playground.wait_until_answered()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_moves_while_an_answer_streams(
    browser: Any, service: RunningService, width: int
) -> None:
    with opened(browser, service.url, viewport={"width": width, "height": 800}) as playground:
        playground.use_example(1)
        playground.choose_task("detailed_caption")
        playground.page.evaluate(SUM_OF_SHIFTS)
        playground.run()
        assert len(playground.phrases) == 6
        assert playground.page.evaluate("() => window.shifts") == 0
