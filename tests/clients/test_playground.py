"""The features of the playground, each once, in a real browser."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.checkpoint.files import DEMO_NOTICE
from app.contract.examples import EXAMPLE_SCENE
from app.grounding.tasks import TASKS, Use
from harness.answers import are_same
from harness.service import RunningService
from tests.clients.playground_page import Playground

PHRASES = ["two red circles", "a blue square"]
IT = "it"
"""The words that stand for a region, unless the user marks others."""
SQUARE = (0.37, 0.3, 0.62, 0.7)
"""Around the blue square of the first example."""
# Calls a listener of the page as a browser does when the user drops or pastes a file.
SEND_FILE = """([kind, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "scene.jpg", { type: "image/jpeg" }));
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: files, bubbles: true });
  document.body.dispatchEvent(event);
}"""
# Records how many characters and boxes the page shows, at each change of the answer.
OBSERVE = """() => {
  window.seen = [];
  const look = () => window.seen.push([
    document.querySelector("#answer").textContent.length,
    document.querySelectorAll("#stage .box").length,
    document.querySelector("#save-json").disabled,
  ]);
  const options = { childList: true, subtree: true, characterData: true };
  new MutationObserver(look).observe(document.querySelector("#answer"), options);
}"""


def test_an_example_is_answered_at_once(answered: Playground, expected: Mapping[Path, Any]) -> None:
    assert answered.phrases == PHRASES
    assert answered.boxes.count() == 3
    assert are_same(answered.answer, expected[EXAMPLE_SCENE])
    assert len(answered.posts) == 1


def test_boxes_are_a_list_with_names_and_places(answered: Playground) -> None:
    names = answered("#boxes .item").all_text_contents()
    assert names[2].startswith("2 a blue square, confidence 91 %, left 39, top 33, right")


def test_a_screen_reader_hears_the_whole_answer(answered: Playground) -> None:
    spoken = "An image of two red circles and a blue square. 3 boxes."
    assert answered("[role=status]").text_content() == spoken


def test_a_picture_is_opened_with_the_file_dialog(playground: Playground) -> None:
    playground("#file").set_input_files(EXAMPLE_SCENE)
    playground.wait_until_answered()
    assert playground.phrases == PHRASES


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(playground: Playground, kind: str) -> None:
    content = base64.b64encode(EXAMPLE_SCENE.read_bytes()).decode()
    playground.page.evaluate(SEND_FILE, [kind, content])
    playground.wait_until_answered()
    assert playground.phrases == PHRASES


def test_a_picture_is_taken_with_the_camera(playground: Playground) -> None:
    playground("#camera").click()
    playground("#video").wait_for()
    playground.page.evaluate(
        "async () => { const v = document.querySelector('#video');"
        " while (!v.videoWidth) await new Promise(requestAnimationFrame) }"
    )
    playground("#shoot").click()
    playground.wait_until_answered()
    assert playground.answer["image"]["width"] > 100
    assert not playground("#camera-dialog").is_visible()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_answered(answered: Playground, task: str) -> None:
    answered.choose_task(task)
    if TASKS[task].regions is Use.REQUIRED:
        answered.draw(SQUARE)
    answered.run()
    assert answered.answer["task"] == task
    assert answered("#message").is_hidden()


def test_a_class_list_shows_what_is_there_and_what_is_not(answered: Playground) -> None:
    answered.choose_task("detect")
    answered("#text").fill("red circle, green heart")
    answered.run()
    assert answered("#answer").text_content() == "2 × red circle1, no green heart2"
    assert answered.boxes.count() == 2
    assert answered("#boxes .absent").text_content().startswith("no green heart")


def test_text_and_boxes_appear_while_the_answer_streams(answered: Playground) -> None:
    answered.page.evaluate(OBSERVE)
    answered("#run").click()
    answered("#run:disabled").wait_for(state="detached")
    seen = answered.page.evaluate("() => window.seen")
    before = [(length, boxes) for length, boxes, is_unfinished in seen if is_unfinished]
    assert len({length for length, _ in before}) > 5
    assert {boxes for _, boxes in before} >= {0, 2, 3}  # the first phrase has two boxes


def test_phrase_box_and_list_light_up_together(answered: Playground) -> None:
    parts = [answered(f"#{name} [data-item='1'].active") for name in ("stage", "answer", "boxes")]
    for target in ("#answer [data-item='1']", "#stage [data-item='1']", "#boxes [data-item='1']"):
        answered("h1").hover()
        assert [part.count() for part in parts] == [0, 0, 0]
        answered(target).hover()
        assert [part.count() for part in parts] == [1, 1, 1]
    answered("h1").hover()
    for before in ("#answer [data-item='0']", "#boxes li:nth-child(2) .use"):
        answered(before).focus()
        answered.page.keyboard.press("Tab")
        assert [part.count() for part in parts] == [1, 1, 1]


def test_a_drawn_box_becomes_the_region_of_a_question(answered: Playground) -> None:
    answered.draw(SQUARE)
    assert answered("#text").input_value() == f"What is {IT}?"
    assert answered("#phrase").input_value() == IT
    answered("#text").fill("What color is the square?")
    answered("#text").evaluate("input => input.setSelectionRange(14, 24)")
    answered.wait_for_value("#phrase", "the square")
    answered.run()
    region = answered.answer["entities"][0]
    assert (region["phrase"], region["from_prompt"]) == ("the square", True)
    assert region["boxes"][0]["xyxy_normalized"] == pytest.approx(SQUARE, abs=1 / 32)
    assert "blue" in answered.answer["answer"]


def test_the_words_of_a_region_must_occur_in_the_question(answered: Playground) -> None:
    answered.draw(SQUARE)
    answered("#text").fill("What color is the square?")
    answered("#run").click()
    assert "the words that the region stands for" in answered("#message").text_content()
    assert len(answered.posts) == 1


def test_a_found_box_becomes_a_region(answered: Playground) -> None:
    answered("#boxes .use").nth(2).click()
    assert answered("#edge-0").input_value() == "39.1"
    answered("#text").fill(f"What color is {IT}?")
    answered.run()
    assert "blue" in answered.answer["answer"]


def test_the_slider_hides_boxes_without_a_request(answered: Playground) -> None:
    for percent, num_boxes, num_unboxed in ((90, 3, 0), (92, 1, 1), (93, 0, 2)):
        answered.set_slider(percent)
        assert answered.boxes.count() == num_boxes
        assert answered("#boxes .item").count() == num_boxes
        assert answered("#answer .unboxed").count() == num_unboxed
    assert len(answered.posts) == 1


def test_coarse_and_refined_boxes_are_shown(answered: Playground) -> None:
    def left() -> list[float]:
        return [
            float(box.evaluate("box => box.style.getPropertyValue('--x0')"))
            for box in answered('#stage [data-item="1"]').all()
        ]

    [box] = answered.answer["entities"][1]["boxes"]
    coarse, refined = box["xyxy_normalized"][0], box["xyxy_refined_normalized"][0]
    assert left() == [refined]
    answered("label:has([value=coarse])").click()
    assert left() == [coarse]
    answered("label:has([value=both])").click()
    assert sorted(left()) == sorted([coarse, refined])


def test_a_class_list_greys_the_choice_of_boxes_out(answered: Playground) -> None:
    """A detection has refined boxes only."""
    looks = "part => (({ color, cursor }) => color + cursor)(getComputedStyle(part))"
    coarse = answered(".segments input[value=coarse] + span")
    enabled = coarse.evaluate(looks)
    answered.choose_task("detect")
    answered.run()
    assert answered(".segments input[value=coarse]").is_disabled()
    assert coarse.evaluate(looks) != enabled


def test_markup_timings_and_tokens_are_shown(answered: Playground) -> None:
    assert answered("#markup").text_content() == answered.answer["markup"]
    facts = answered("#timings").text_content()
    assert str(answered.answer["usage"]["completion_tokens"]) in facts
    assert "First box in this page" in facts


def test_text_with_a_picture_of_it_is_pasted_into_a_field_as_text(answered: Playground) -> None:
    answered.choose_task("phrase_grounding")
    answered("#text").evaluate("""field => {
      const copied = new DataTransfer();
      copied.items.add(new File(["x"], "table.png", { type: "image/png" }));
      copied.items.add("a red circle", "text/plain");
      field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: copied, bubbles: true }));
    }""")
    assert answered("#save-json").is_enabled()
    assert len(answered.posts) == 1


def test_the_notice_of_the_stand_in_is_above_the_answer(playground: Playground) -> None:
    assert playground("#notice").text_content() == DEMO_NOTICE.replace("`", "")
    assert playground("#notice code").text_content().startswith("make run MODEL=")


def test_published_answers_are_shown_on_a_blank_grid(playground: Playground) -> None:
    playground("#tab-published").click()
    assert "not computed here" in playground("#recorded-title").text_content()
    playground("#recorded li").nth(1).locator("button").first.click()
    assert playground("#published-stage .box").count() == 6
    assert playground("#published-stage .blank").count() == 1
    playground("#recorded li").nth(1).locator("[data-item='1']").hover()
    assert playground("#published-stage [data-item='1'].active").count() == 1
    assert playground.posts == []


def test_the_page_works_behind_a_prefix(browser: Any, service: RunningService) -> None:
    """The browser sends `/kosmos/…`, and the service receives what follows the prefix."""
    context = browser.new_context()
    context.route(
        f"{service.url}/kosmos/**",
        lambda route: route.continue_(url=route.request.url.replace("/kosmos/", "/")),
    )
    playground = Playground(context.new_page(), f"{service.url}/kosmos/")
    playground.use_example()
    assert playground.phrases == PHRASES
    assert playground.complaints == []
    context.close()
