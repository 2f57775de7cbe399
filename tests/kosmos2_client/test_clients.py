"""`Kosmos2` and `AsyncKosmos2` send the same, read the same, and try again at the same times."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.scripted_service import FakeTime, Script
from kosmos2_client import (
    ConnectionFailed,
    InvalidAnswer,
    InvalidPicture,
    InvalidUrl,
    Kosmos2,
    Overloaded,
    RateLimited,
    RequestRejected,
    RetryPolicy,
    Unauthorized,
)
from tests.kosmos2_client.answers import box, detections, entity, grounding, problem
from tests.kosmos2_client.callers import Use, use_async, use_sync

CLASSES = ["red circle", "blue square"]
FOUND = detections(*CLASSES)


def test_a_text_is_one_class(use: Use) -> None:
    script = Script(detections("red circle"))
    use(script, FakeTime(), "detect", b"a picture", "red circle")
    assert script.fields[0]["classes"] == b'["red circle"]'


def test_an_answer_that_drips_in_ends_with_the_time_of_the_call() -> None:
    """The limit of httpx itself is the time between two parts."""
    time, script = FakeTime(), Script(by_image=lambda _: httpx.Response(200, content=drip()))

    def drip() -> Iterator[bytes]:
        while True:
            time.advance(1)
            yield b" "

    with pytest.raises(ConnectionFailed, match="in time"):
        use_sync(script, time, "detect", b"a", CLASSES, retries=RetryPolicy(timeout_s=5))
    assert sum(time.waits) == 5


def test_an_answer_that_drips_in_ends_with_the_time_of_an_async_call() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.001)
            yield b" "

    script = Script(by_image=lambda _: httpx.Response(200, content=drip()))
    retries = RetryPolicy(timeout_s=0.05, max_retries=0)
    with pytest.raises(ConnectionFailed, match="in time"):
        use_async(script, FakeTime(), "detect", b"a", CLASSES, retries=retries)


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_concurrency_below_1_is_refused(use: Use, tmp_path: Path, concurrency: int) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a picture")
    for method, pictures in (("map_folder", tmp_path), ("detect_many", [b"a picture"])):
        with pytest.raises(ValueError, match="must be"):
            use(Script(), FakeTime(), method, pictures, CLASSES, concurrency=concurrency)


def test_a_detection_is_sent_as_a_form_with_the_key(use: Use) -> None:
    script = Script(FOUND)
    found = use(script, FakeTime(), "detect", b"a picture", CLASSES, confidence=0.2, tiles="auto")
    [request] = script.requests
    assert (request.method, str(request.url)) == ("POST", "http://service/prefix/v1/detect")
    assert request.headers["Authorization"] == "Bearer key"
    assert script.fields[0] == {
        "image": b"a picture",
        "classes": b'["red circle", "blue square"]',
        "confidence": b"0.2",
        "tiles": b"auto",
    }
    assert [one.class_name for one in found.predictions] == CLASSES
    assert found.raw == FOUND


def test_unknown_fields_of_an_answer_are_ignored(use: Use) -> None:
    """Newer services may add some."""
    newer = {**FOUND, "new": 1, "predictions": [{**FOUND["predictions"][0], "new": 2}]}
    assert len(use(Script(newer), FakeTime(), "detect", b"", CLASSES)) == 1


def test_a_task_is_sent_with_its_options(use: Use) -> None:
    script = Script(grounding(entity("a dog", box(0.8))))
    regions = [{"phrase": "it", "boxes": [[1, 2, 3, 4]]}]
    answer = use(
        script, FakeTime(), "ground", b"p", "raw", text="Hi", regions=regions, grounding=False
    )
    assert script.fields[0]["regions"] == json.dumps(regions).encode()
    assert script.fields[0]["grounding"] == b"false"
    assert [one.class_name for one in answer.predictions] == ["a dog"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (413, RequestRejected), (422, RequestRejected)],
)
def test_a_rejected_request_is_an_error_at_once(
    use: Use, status: int, kind: type[Exception]
) -> None:
    script, time = Script(problem(status, "a_code", "the limit is 5")), FakeTime()
    with pytest.raises(kind, match="the limit is 5") as caught:
        use(script, time, "detect", b"", CLASSES)
    assert (caught.value.status, caught.value.code) == (status, "a_code")  # type: ignore[attr-defined]
    assert (len(script.requests), time.waits) == (1, [])


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_is_never_shorter_than_retry_after(use: Use, status: int) -> None:
    """A client that returns earlier is rejected again."""
    script = Script((problem(status, "full"), {"Retry-After": "7"}), FOUND)
    time = FakeTime()
    use(script, time, "detect", b"", CLASSES)
    [wait] = time.waits
    assert 7 <= wait <= 7.5


def test_waits_without_retry_after_double_and_are_random(use: Use) -> None:
    script, time = Script(*[problem(500, "engine_failure")] * 4, FOUND), FakeTime()
    use(script, time, "detect", b"", CLASSES)
    shares = [wait / longest for wait, longest in zip(time.waits, (0.5, 1, 2, 4), strict=True)]
    assert all(0.5 <= share <= 1 for share in shares)
    assert len(set(shares)) > 1


@pytest.mark.parametrize(
    "cut",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cut_connection_is_tried_again(use: Use, cut: Exception) -> None:
    script = Script(cut, FOUND)
    assert len(use(script, FakeTime(), "detect", b"", CLASSES)) == 2


def test_the_last_error_is_raised_when_no_try_fits_into_the_time(use: Use) -> None:
    script = Script(*[(problem(503, "overloaded"), {"Retry-After": "20"})] * 9)
    time = FakeTime()
    with pytest.raises(Overloaded) as caught:
        use(script, time, "detect", b"", CLASSES, retries=RetryPolicy(timeout_s=50))
    assert caught.value.retry_after_s == 20
    assert len(script.requests) == 3
    assert sum(time.waits) < 50


def test_an_answer_that_takes_too_long_is_an_error(use: Use) -> None:
    time = FakeTime()

    def answer_late(_: bytes) -> Exception:
        time.advance(50)
        return httpx.ReadTimeout("")

    script = Script(by_image=answer_late)
    with pytest.raises(ConnectionFailed, match="did not answer in time"):
        use(script, time, "detect", b"", CLASSES, retries=RetryPolicy(timeout_s=50))
    assert len(script.requests) == 1


def test_each_try_has_the_time_that_is_left(use: Use) -> None:
    script = Script((problem(503, "overloaded"), {"Retry-After": "20"}), FOUND)
    use(script, FakeTime(), "detect", b"", CLASSES, retries=RetryPolicy(timeout_s=50))
    first, second = (request.extensions["timeout"]["read"] for request in script.requests)
    assert first == 50
    assert 29 <= second <= 30


def test_the_number_of_retries_is_limited(use: Use) -> None:
    script = Script(*[problem(429, "rate_limited")] * 9)
    with pytest.raises(RateLimited):
        use(script, FakeTime(), "detect", b"", CLASSES, retries=RetryPolicy(max_retries=2))
    assert len(script.requests) == 3


def test_an_answer_of_another_program_is_an_error(use: Use) -> None:
    for answer in (b"<html>", {"detail": "no answer"}):
        with pytest.raises(InvalidAnswer):
            use(Script(answer), FakeTime(), "detect", b"", CLASSES)


def test_the_page_of_a_proxy_becomes_the_detail_of_the_error(use: Use) -> None:
    script = Script(httpx.Response(413, content=b"<html> Too large\n</html>"))
    with pytest.raises(RequestRejected, match="<html> Too large </html>"):
        use(script, FakeTime(), "detect", b"", CLASSES)


def test_predictions_are_drawn_with_their_classes_and_confidences(use: Use) -> None:
    script = Script(FOUND, b"a drawing")
    found = use(script, FakeTime(), "detect", b"p", CLASSES)
    drawn = use(script, FakeTime(), "annotate", b"p", found, media_type="image/webp")
    assert drawn == b"a drawing"
    assert script.requests[1].headers["Accept"] == "image/webp"
    entities = json.loads(script.fields[1]["entities"])
    assert [one["phrase"] for one in entities] == CLASSES
    assert entities[0]["boxes"] == [{"xyxy": [20.0, 20.0, 40.0, 60.0], "score": 0.9}]


def test_many_pictures_are_answered_in_their_order(use: Use) -> None:
    script = Script(by_image=lambda image: detections(image.decode()))
    pictures = [str(number).encode() for number in range(20)]
    found = use(script, FakeTime(), "detect_many", pictures, CLASSES, concurrency=3)
    assert [one.predictions[0].class_name for one in found] == [str(n) for n in range(20)]


def test_an_error_of_one_picture_does_not_stop_a_folder(use: Use, tmp_path: Any) -> None:
    for name in ("a.jpg", "sub/b.PNG", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    script = Script(
        by_image=lambda image: problem(422, "invalid_image") if image == b"a.jpg" else FOUND
    )
    outcomes = dict(use(script, FakeTime(), "map_folder", tmp_path, CLASSES))
    assert outcomes.keys() == {tmp_path / "a.jpg", tmp_path / "sub" / "b.PNG"}
    assert isinstance(outcomes[tmp_path / "a.jpg"], RequestRejected)
    assert len(outcomes[tmp_path / "sub" / "b.PNG"]) == 2


def test_a_url_is_no_picture(use: Use) -> None:
    with pytest.raises(InvalidPicture, match="does not load URLs"):
        use(Script(), FakeTime(), "detect", "https://example.org/a.jpg", CLASSES)


def test_tasks_are_listed_with_their_examples(use: Use) -> None:
    task = {
        "task": "raw",
        "description": "d",
        "prompt": "{text}",
        "text": "required",
        "regions": "refused",
        "can_be_plain": False,
        "example": {"task": "raw", "text": "Hi"},
    }
    [listed] = use(Script([task]), FakeTime(), "tasks")
    assert (listed.name, listed.example["text"], listed.raw) == ("raw", "Hi", task)


def test_a_base_url_needs_a_scheme() -> None:
    with pytest.raises(InvalidUrl, match="must start with http"):
        Kosmos2("127.0.0.1:8000")
