"""Regions in the playground: typed edges, clicks, and fingers after another picture."""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.service import RunningService
from tests.clients.playground_page import Playground, opened

EDGES = ["10", "20", "60", "70"]
REGION = (0.1, 0.2, 0.6, 0.7)


@pytest.fixture
def answered(browser: Any, service: RunningService) -> Iterator[Playground]:
    with opened(browser, service.url) as page:
        page.use_example()
        yield page


def test_the_first_edges_stay_while_the_others_are_typed(answered: Playground) -> None:
    answered.choose_task("referring_expression_generation")
    answered("#edge-0").focus()
    for edge in EDGES:
        answered.page.keyboard.type(edge)
        answered.page.keyboard.press("Tab")
    answered.run()
    [region] = answered.answer["entities"][0]["boxes"]
    assert region["xyxy_normalized"] == pytest.approx(REGION, abs=1 / 32)


def test_a_click_shows_no_region_that_the_task_does_not_use(answered: Playground) -> None:
    answered.draw(REGION)
    assert answered("#stage .region").count() == 1
    answered.choose_task("brief_caption")
    answered("#stage .sheet").click(position={"x": 5, "y": 5})
    assert answered("#stage .region").count() == 0
    assert answered("#clear-region").is_hidden()
    answered.choose_task("grounded_vqa")
    assert answered("#stage .region").count() == 1


def test_a_finger_still_draws_after_another_picture(browser: Any, service: RunningService) -> None:
    with opened(browser, service.url, has_touch=True) as playground:
        playground.use_example(0)
        playground("#draw").tap()
        playground.use_example(1)
        playground("#stage .box[data-item='5']").wait_for()  # only this picture has six objects
        assert playground("#draw").get_attribute("aria-pressed") == "true"
        action = "sheet => getComputedStyle(sheet).touchAction"
        assert playground("#stage .sheet").evaluate(action) == "none"
