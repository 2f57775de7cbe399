"""The tables of docs/clients.md name the clients and proxies that are tested."""

import re
from pathlib import Path

from harness.proxies import PROXIES
from tests.clients.chat_clients import CHAT_CLIENTS, MOONDREAM
from tests.clients.matrix import rows_of
from tests.clients.test_browser import UPLOADS
from tests.clients.test_uploads import CLIENTS

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
FIRST_CELL = re.compile(r"^\| (.+?) \|", re.MULTILINE)


def test_the_table_of_clients_has_every_client() -> None:
    table = PAGE[PAGE.index("## Clients\n") : PAGE.index("## Proxies")]
    browser = [f"Chromium {upload}" for upload in UPLOADS]
    assert FIRST_CELL.findall(table)[1:] == [*CLIENTS, *browser, "Chromium form"]


def test_the_table_of_calls_has_every_client_whole_and_streamed() -> None:
    """The run that writes the table cannot drop a client unnoticed."""
    for streamed in ("yes", "no"):
        clients = {client for client, _, cell in rows_of(PAGE) if cell == streamed}
        assert clients >= {client.name for client in (*CHAT_CLIENTS, MOONDREAM)}
        assert "SageMaker (imitated)" in clients
    assert ("Vertex AI (imitated)", "rawPredict", "no") in rows_of(PAGE)


def test_the_table_of_proxies_has_every_proxy() -> None:
    header = re.search(r"^\| case \| (.+) \|$", PAGE, re.MULTILINE)
    assert header is not None
    names = [re.sub(r" [\d.]+$", "", cell) for cell in header[1].split(" | ")]
    assert names == list(PROXIES)
