"""The playground when something fails: keys, overload, a killed engine, files, the network."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from app.contract.examples import EXAMPLE_SCENE
from harness.full_service import full, halted, is_full
from harness.service import RunningService, running_service
from harness.waiting import eventually
from tests.clients.playground_page import Playground, opened

KEY = "the-key"
PIXELS = (5472, 3648)
"""Of an upright photograph with 20 megapixels."""
EXIF_ORIENTATION, TURNED_RIGHT = 0x0112, 6


@pytest.fixture(scope="module")
def small() -> Iterator[RunningService]:
    """A service with one slot, no queue and a key; tests may kill its engine."""
    with running_service(slots=1, max_waiting=0, api_keys=KEY) as running:
        yield running


def type_key(playground: Playground, key: str = KEY) -> None:
    if not playground("#key").is_visible():
        playground("#key-box summary").click()
    playground("#key").fill(key)
    playground("#key-form button").click()


def forget_expected(playground: Playground, status: int) -> None:
    """Drop the browser's own lines about responses with a status that the test causes."""
    playground.complaints[:] = [
        line for line in playground.complaints if f"status of {status}" not in line
    ]


def test_a_missing_key_is_explained_and_the_typed_one_is_kept_in_memory_only(
    browser: Any, small: RunningService
) -> None:
    with opened(browser, small.url) as playground:
        playground("#examples button").first.click()
        message = playground("#message")
        message.wait_for()
        assert "needs an API key" in message.text_content()
        assert playground("#key").evaluate("field => field === document.activeElement")
        type_key(playground)
        playground.wait_until_answered()
        assert message.is_hidden()
        stored = playground.page.evaluate(
            "() => [localStorage.length, sessionStorage.length, document.cookie]"
        )
        assert stored == [0, 0, ""]
        playground("#copy-curl").click()
        code = playground("#code").text_content()
        assert "$KOSMOS2_API_KEY" in code
        assert KEY not in code
        forget_expected(playground, 401)


def test_a_full_service_is_explained_and_tried_again(browser: Any, small: RunningService) -> None:
    with opened(browser, small.url) as playground:
        type_key(playground)
        with full(small, KEY):
            playground("#examples button").first.click()
            playground("#progress:has-text('The service is full. Trying again in')").wait_for()
            assert "full" in playground("[role=status]").text_content()
        playground.wait_until_answered()
        assert len(playground.phrases) == 2
        forget_expected(playground, 503)


def test_a_running_answer_is_cancelled(browser: Any, small: RunningService) -> None:
    """The engine is stopped, so the answer cannot end before the button is pressed."""
    series = 'kosmos2_requests_total{door="kosmos2",outcome="cancelled",task="brief_caption"}'
    with opened(browser, small.url) as playground:
        type_key(playground)
        playground.use_example()
        before = small.metric(series)
        with halted(small):
            playground("#run").click()
            assert eventually(lambda: is_full(small, KEY))
            playground("#cancel").click()
            playground("#run:not(:disabled)").wait_for()
            assert playground("#progress").text_content() == "Cancelled."
            assert eventually(lambda: small.metric(series) == before + 1)
        playground.run()
        assert len(playground.phrases) == 2


def test_a_service_that_stays_full_is_a_message_with_advice(playground: Playground) -> None:
    """The test answers in place of the service, because a service empties sooner or later."""
    problem = {"code": "overloaded", "detail": "the service is full", "request_id": "abc"}
    playground.page.route(
        "**/v1/ground",
        lambda route: route.fulfill(status=503, json=problem, headers={"Retry-After": "0"}),
    )
    playground("#examples button").first.click()
    message = playground("#message")
    message.wait_for()
    assert "The service is full." in message.text_content()
    assert "Wait a moment" in message.text_content()
    assert "request id abc" in message.text_content()
    assert len(playground.posts) == 3
    forget_expected(playground, 503)


def test_an_engine_killed_in_the_middle_of_a_stream_delays_the_answer(
    browser: Any, small: RunningService
) -> None:
    """The service starts another engine and continues the stream where it stopped."""
    with opened(browser, small.url) as playground:
        type_key(playground)
        playground.use_example(1)
        playground.choose_task("detailed_caption")
        playground.run()
        undisturbed = playground.answer["text"]
        engine = small.engine
        playground("#run").click()
        playground("#answer .phrase").first.wait_for()
        engine.kill()
        playground("#run:not(:disabled)").wait_for(timeout=60_000)
        assert playground("#message").is_hidden()
        assert playground.answer["text"] == undisturbed


def photograph() -> bytes:
    """Return the example as a photograph of a phone: 20 megapixels, stored on its side."""
    upright = Image.open(EXAMPLE_SCENE).convert("RGB").resize(PIXELS)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = TURNED_RIGHT
    file = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_a_photograph_is_turned_and_sent_small_and_boxes_fit_the_original(
    playground: Playground,
) -> None:
    playground.use_example()
    scene = playground.answer["entities"]
    content = photograph()
    playground("#file").set_input_files(
        {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": content}
    )
    playground("#stage .sheet img[alt='Your picture']").wait_for()
    playground("#answer .caret").wait_for(state="detached")
    playground.wait_until_answered()
    answer = playground.answer
    assert (answer["image"]["width"], answer["image"]["height"]) == PIXELS
    for entity, small in zip(answer["entities"], scene, strict=True):
        assert entity["phrase"] == small["phrase"]
        for box, expected in zip(entity["boxes"], small["boxes"], strict=True):
            assert box["xyxy_refined_normalized"] == pytest.approx(
                expected["xyxy_refined_normalized"], abs=0.03
            )
            fractions = [edge / PIXELS[side % 2] for side, edge in enumerate(box["xyxy"])]
            assert box["xyxy_normalized"] == pytest.approx(fractions, abs=1e-3)
    ratio = playground("#stage .sheet").evaluate("sheet => sheet.clientWidth / sheet.clientHeight")
    assert ratio == pytest.approx(PIXELS[0] / PIXELS[1], rel=0.01)
    assert playground.posts[-1] < len(content) / 3


def test_a_slow_network_shows_that_the_picture_is_being_sent(playground: Playground) -> None:
    playground.use_example()
    network = playground.page.context.new_cdp_session(playground.page)
    slow = {"offline": False, "latency": 400, "downloadThroughput": 4000, "uploadThroughput": 4000}
    network.send("Network.emulateNetworkConditions", slow)
    playground("#run").click()
    playground("#progress:has-text('Sending the picture')").wait_for()
    assert playground("#cancel").is_visible()
    playground.wait_until_answered()
    assert len(playground.phrases) == 2


def test_a_lost_connection_is_explained(playground: Playground) -> None:
    playground.use_example()
    playground.page.context.set_offline(True)
    playground("#run").click()
    message = playground("#message")
    message.wait_for()
    assert "cannot be reached" in message.text_content()
    playground.page.context.set_offline(False)
    playground.run()
    assert message.is_hidden()
    playground.complaints[:] = [
        line for line in playground.complaints if "INTERNET_DISCONNECTED" not in line
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no picture", "not a picture"), (b"\xff\x0a" + bytes(64), "format is not accepted")],
    ids=["no picture", "JPEG XL"],
)
def test_a_file_that_is_no_picture_is_explained(
    playground: Playground, content: bytes, words: str
) -> None:
    playground("#file").set_input_files(
        {"name": "file.jpg", "mimeType": "image/jpeg", "buffer": content}
    )
    playground("#message").wait_for()
    assert words in playground("#message").text_content()
    for status in (415, 422):
        forget_expected(playground, status)


def test_a_picture_that_the_browser_cannot_show_gets_boxes_on_a_blank_grid(
    playground: Playground,
) -> None:
    """Chromium knows no TIFF, and the service does."""
    file = io.BytesIO()
    Image.open(EXAMPLE_SCENE).save(file, "TIFF")
    playground("#file").set_input_files(
        {"name": "scan.tif", "mimeType": "image/tiff", "buffer": file.getvalue()}
    )
    playground.wait_until_answered()
    assert playground("#stage .blank").count() == 1
    assert playground.boxes.count() == 3
    ratio = playground("#stage .sheet").evaluate("sheet => sheet.clientWidth / sheet.clientHeight")
    assert ratio == pytest.approx(1.5, rel=0.01)


def test_files_of_the_page_that_cannot_be_loaded_are_explained_and_loaded_later(
    playground: Playground,
) -> None:
    playground.page.route("**/playground/scenes/*", lambda route: route.abort())
    playground.page.route("**/playground/published.json", lambda route: route.fulfill(status=503))
    playground("#examples button").first.click()
    assert "cannot be reached" in playground("#message strong").text_content()
    playground("#tab-published").click()
    playground("#recorded:has-text('cannot be loaded')").wait_for()
    playground.page.unroute_all()
    playground("#tab-try").click()
    playground("#tab-published").click()
    playground("#recorded li.shown").wait_for()
    assert "cannot be loaded" not in playground("#recorded").text_content()
    playground("#tab-try").click()
    playground.use_example()
    assert playground("#message").is_hidden()
    forget_expected(playground, 503)
    playground.complaints[:] = [
        line
        for line in playground.complaints
        if "ERR_FAILED" not in line and not line.startswith("failed: ")
    ]


def test_a_key_that_no_header_can_hold_is_not_used(playground: Playground) -> None:
    type_key(playground, "schlüssel")
    assert not playground("#key").evaluate("field => field.checkValidity()")
    assert playground("#key").is_visible()


def test_a_double_click_keeps_no_camera_on(playground: Playground) -> None:
    playground.page.evaluate("""() => {
      window.tracks = [];
      const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await open(wanted);
        window.tracks.push(...stream.getTracks());
        return stream;
      };
    }""")
    playground("#camera").evaluate("button => { button.click(); button.click() }")
    playground.page.wait_for_function("() => window.tracks.length === 2")
    playground("#video").wait_for()
    playground("#close-camera").click()
    playground.page.wait_for_function(
        "() => window.tracks.every((track) => track.readyState === 'ended')"
    )


def test_a_camera_takes_a_picture_only_when_it_shows_one(playground: Playground) -> None:
    playground("#camera").click()
    playground("#shoot:focus").wait_for()
    playground("#video").evaluate("video => { video.srcObject = new MediaStream() }")
    playground("#shoot:disabled").wait_for()
