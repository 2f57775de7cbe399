"""The page at `/`: its policy, its addresses, and how browsers cache it."""

import re
from urllib.parse import urljoin

import httpx
import pytest

from app.http.routes.playground import PLAYGROUND_PATHS
from harness import loopback
from harness.service import RunningService

ADDRESS = re.compile(
    r"""(?:src|href)="([^"]+)"|^(?:import|export|\}).* from "([^"]+)";""", re.MULTILINE
)


def addresses(text: str) -> list[str]:
    """Return the addresses that a page or a module loads."""
    return [first or second for first, second in ADDRESS.findall(text)]


def test_the_policy_allows_nothing_inline_and_no_other_host(client: httpx.Client) -> None:
    policy = client.get("/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert not re.search(r"https?:|\*", policy)


def test_the_page_works_behind_a_stripped_prefix(client: httpx.Client) -> None:
    """Page and modules load everything from addresses relative to themselves."""
    waiting, seen = ["/"], {"/"}
    while waiting:
        path = waiting.pop()
        for address in addresses(client.get(path).text):
            prefixed = urljoin(f"https://host/kosmos{path}", address)
            assert prefixed.startswith("https://host/kosmos/")
            loaded = prefixed.removeprefix("https://host/kosmos")
            if loaded not in seen and not loaded.endswith("/docs"):
                assert loaded in PLAYGROUND_PATHS, f"{path} loads {loaded}"
                seen.add(loaded)
                waiting.append(loaded)
    unused = {path for path in PLAYGROUND_PATHS if path.endswith(".js")} - seen
    assert unused == set()


@pytest.mark.parametrize("path", PLAYGROUND_PATHS)
def test_each_file_has_its_type_and_is_compressed(client: httpx.Client, path: str) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert plain.status_code == packed.status_code == 200
    assert plain.content == packed.content
    assert "Content-Encoding" not in plain.headers
    is_picture = path.endswith((".jpg", ".png"))
    assert ("Content-Encoding" in packed.headers) != is_picture
    assert plain.headers["Content-Type"].startswith(("text/", "image/", "application/json"))


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("", False), ("gzip;q=0", False), ("br, gzip;q=0.5", True), ("x-gzip-not", False)],
)
def test_a_file_is_compressed_only_if_the_browser_accepts_it(
    client: httpx.Client, accepted: str, is_packed: bool
) -> None:
    response = client.get("/", headers={"Accept-Encoding": accepted})
    assert ("Content-Encoding" in response.headers) == is_packed


def test_a_browser_that_has_the_file_gets_no_body(client: httpx.Client) -> None:
    first = client.get("/")
    assert first.headers["Cache-Control"] == "no-cache"
    for tag in (first.headers["ETag"], f"W/{first.headers['ETag']}"):
        again = client.get("/", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_recorded_answers_have_text_and_boxes_but_no_weights(client: httpx.Client) -> None:
    recorded = client.get("/playground/published.json").json()["answers"]
    assert len(recorded) == 10
    assert recorded[0]["text"] == "An image of a snowman warming himself by a fire."
    assert recorded[0]["entities"][0][0] == "a snowman"
    assert "logits" not in recorded[0]


def test_a_setting_turns_the_page_off(short_timeouts: RunningService) -> None:
    for path in ("/", "/playground/style.css"):
        response = loopback.get(
            f"{short_timeouts.url}{path}", headers={"Authorization": "Bearer key"}
        )
        assert response.status_code == 404
