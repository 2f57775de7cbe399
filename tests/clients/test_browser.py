"""A browser: `fetch` from another origin, and a form that needs no script."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.answers import are_same
from harness.service import RunningService
from tests.clients.conftest import FIELDS, PICTURES
from tests.clients.upload import Answer

PICTURE, *_ = PICTURES
UPLOADS = {
    "fetch, File": "([url, fields]) => upload(url, fields, false)",
    "fetch, typed Blobs": "([url, fields]) => upload(url, fields, true)",
    "fetch, JSON": "([url, fields]) => uploadJson(url, fields)",
}


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page()
    yield opened
    opened.close()


def fetch(page: Any, pages: str, url: str, upload: str, fields: Mapping[str, Any]) -> Answer:
    page.goto(f"{pages}/fetch.html")
    page.locator("input").set_input_files(PICTURE)
    outcome = page.evaluate(UPLOADS[upload], [f"{url}/v1/ground", dict(fields)])
    assert outcome["requestId"], "CORS does not expose the header"
    return Answer(outcome["status"], outcome["text"])


def submit(page: Any, pages: str, url: str, task: str) -> Answer:
    page.goto(f"{pages}/form.html")
    page.locator("form").evaluate("(form, action) => (form.action = action)", f"{url}/v1/ground")
    page.locator("input[name=image]").set_input_files(PICTURE)
    page.locator("input[name=task]").fill(task)
    with page.expect_navigation() as navigation:
        page.locator("button").click()
    assert page.locator("body").inner_text()  # the browser shows the answer
    return Answer(navigation.value.status, navigation.value.text())


@pytest.mark.parametrize("upload", UPLOADS)
def test_fetch_from_another_origin_gets_the_boxes(
    page: Any, pages: str, service: RunningService, expected: Mapping[Path, Any], upload: str
) -> None:
    answer = fetch(page, pages, service.url, upload, FIELDS)
    assert answer.status == 200, answer.text
    assert are_same(answer.content, expected[PICTURE])


@pytest.mark.parametrize("upload", UPLOADS)
def test_fetch_reads_a_stream(
    page: Any, pages: str, service: RunningService, expected: Mapping[Path, Any], upload: str
) -> None:
    stream = True if upload == "fetch, JSON" else "true"
    answer = fetch(page, pages, service.url, upload, FIELDS | {"stream": stream})
    assert are_same(answer.streamed, expected[PICTURE])


@pytest.mark.parametrize("upload", UPLOADS)
def test_a_page_can_read_the_detail_of_an_error(
    page: Any, pages: str, service: RunningService, upload: str
) -> None:
    answer = fetch(page, pages, service.url, upload, {"task": "dance"})
    assert answer.status == 422
    assert "brief_caption" in answer.content["detail"]


def test_a_form_without_a_script_gets_the_boxes(
    page: Any, pages: str, service: RunningService, expected: Mapping[Path, Any]
) -> None:
    answer = submit(page, pages, service.url, FIELDS["task"])
    assert answer.status == 200, answer.text
    assert are_same(answer.content, expected[PICTURE])


def test_a_form_without_a_script_shows_an_error(
    page: Any, pages: str, service: RunningService
) -> None:
    answer = submit(page, pages, service.url, "dance")
    assert answer.status == 422
    assert "brief_caption" in answer.content["detail"]
