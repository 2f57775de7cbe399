"""Opens the playground in a browser, and reports everything that the page does wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

# The browser reports a body that a script reads as a stream as aborted, even after its last byte.
_STREAMED = ("/v1/ground", "/v1/detect")


class Playground:
    """The page in a browser, with the actions and the contents that the tests use.

    Attributes:
        page: of playwright.
        complaints: errors of the page, and requests to other hosts, in order.
        posts: the bodies' sizes of all POST requests, in bytes.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.complaints: list[str] = []
        self.posts: list[int] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        page.on("request", self._on_request)
        page.on("requestfailed", self._on_failure)
        page.goto(url)

    def __call__(self, selector: str) -> Any:
        """Return the elements of the page that match a selector."""
        return self.page.locator(selector)

    def use_example(self, number: int = 0) -> None:
        """Choose an example and wait for its caption."""
        self("#examples button").nth(number).click()
        self.wait_until_answered()

    def wait_until_answered(self) -> None:
        """Wait until no request runs and there is an answer."""
        self("#save-json:not(:disabled)").wait_for()
        self("#run:not(:disabled)").wait_for()

    def run(self) -> None:
        """Press the button and wait for the answer."""
        self("#run").click()
        self.wait_until_answered()

    def wait_for_value(self, selector: str, value: str) -> None:
        """Wait until a field has a value."""
        from playwright.sync_api import expect  # optional, as the fixture `browser` checks

        expect(self(selector)).to_have_value(value)

    def choose_task(self, name: str) -> None:
        """Choose a task or the class list (`detect`)."""
        self(f"#tasks label:has(input[value={name}])").click()

    def draw(self, edges: tuple[float, float, float, float]) -> None:
        """Drag the mouse over the picture, between corners as fractions of its sides."""
        sheet = self("#stage .sheet").bounding_box()
        x0, y0, x1, y1 = edges
        for number, (x, y) in enumerate(((x0, y0), (x1, y1))):
            position = sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"]
            self.page.mouse.move(*position, steps=1 + 4 * number)
            (self.page.mouse.up if number else self.page.mouse.down)()

    def set_slider(self, percent: int) -> None:
        """Move the slider of the least confidence."""
        self("#threshold").fill(str(percent))

    @property
    def answer(self) -> Any:
        """The whole answer that the page shows as JSON."""
        return json.loads(self("#json").text_content())

    @property
    def phrases(self) -> list[str]:
        """The coloured phrases, without their numbers."""
        return [text.rstrip("0123456789") for text in self("#answer .phrase").all_text_contents()]

    @property
    def boxes(self) -> Any:
        """The boxes on the picture."""
        return self("#stage .box")

    def _on_console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"console: {message.text}")

    def _on_request(self, request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https"} and address.netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"another host: {request.url}")
        if request.method == "POST":
            self.posts.append(int(request.header_value("content-length") or 0))

    def _on_failure(self, request: Any) -> None:
        if not request.url.endswith(_STREAMED):
            self.complaints.append(f"failed: {request.url}")


@contextmanager
def opened(browser: Any, url: str, **context: Any) -> Iterator[Playground]:
    """Open the page in a profile of its own, and check at the end that it did nothing wrong.

    Args:
        context: options of playwright, such as `color_scheme`.
    """
    profile = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | context))
    try:
        playground = Playground(profile.new_page(), f"{url}/")
        yield playground
        assert playground.complaints == []
    finally:
        profile.close()
