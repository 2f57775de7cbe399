"""Services for all clients, uploaded pictures, answers to direct requests, and a browser."""

import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.settings import EMBEDDED_CHECKPOINT
from harness import loopback
from harness.requirements import require_programs, skip_locally
from harness.service import RunningService, running_service
from harness.standard_servers import running_server
from tests.clients.chat_clients import KEY
from tests.clients.matrix import Matrix
from tests.clients.playground_page import Playground, opened

SCENES = EMBEDDED_CHECKPOINT / "scenes"
PICTURES = tuple(
    SCENES / name
    for name in (
        "red_circle.png",
        "six_shapes.jpg",
        "two_red_circles_and_blue_square.jpg",
        "blue_square_and_yellow_star.png",
    )
)
FIELDS = {"task": "brief_caption"}
BROWSER_OPTIONS = (
    "--no-sandbox",  # the sandbox cannot start where the tests run as root
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves the pages of `tests/clients/pages`, without a log."""

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="session")
def pages() -> Iterator[str]:
    """The origin of the pages that a browser opens: not that of the service."""
    handler = partial(QuietHandler, directory=Path(__file__).parent / "pages")
    with running_server(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        yield f"http://{address}"


@pytest.fixture(scope="session")
def service(pages: str) -> Iterator[RunningService]:
    with running_service(cors_origins=pages, predict_route="/predict") as running:
        yield running


@pytest.fixture(scope="session")
def guarded() -> Iterator[RunningService]:
    """A service that requires a key, for clients that send one."""
    with running_service(api_keys=KEY) as running:
        yield running


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Iterator[Matrix]:
    """The table of docs/clients.md; a run without failures writes it."""
    collected = Matrix()
    yield collected
    if request.session.testsfailed == 0:
        collected.write()


# Not for the whole session: playwright keeps an event loop running, which other clients need.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    require_programs("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        skip_locally("not installed: playwright (`make test-clients` installs it)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(BROWSER_OPTIONS)
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def expected(service: RunningService) -> Mapping[Path, Any]:
    """The answer for each picture, to a request without a proxy by the simplest client."""
    return {picture: ask_directly(service.url, picture) for picture in PICTURES}


def ask_directly(url: str, picture: Path) -> Any:
    files = {"image": picture.read_bytes()}
    response = loopback.post(f"{url}/v1/ground", files=files, data=FIELDS, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def playground(browser: Any, service: RunningService) -> Iterator[Playground]:
    with opened(browser, service.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        yield page


@pytest.fixture
def answered(playground: Playground) -> Playground:
    playground.use_example()
    return playground
