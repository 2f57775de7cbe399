"""The names that `app/http/protocol.py` uses and uvicorn does not document still exist."""

import ast
import asyncio
import importlib
import socket
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

PROTOCOL = Path(__file__).parents[2] / "app" / "http" / "protocol.py"
MODULE = "uvicorn.protocols.http.httptools_impl"
MODULE_NAMES = ("HttpToolsProtocol", "RequestResponseCycle", "STATUS_LINE")
PROTOCOL_NAMES = (
    "_start_asgi_task",
    "_unset_keepalive_if_required",
    "connection_lost",
    "connection_made",
    "connections",
    "cycle",
    "cycle.disconnected",
    "cycle.message_event.set",
    "cycle.response_complete",
    "cycle.response_started",
    "cycle.transport",
    "data_received",
    "expect_100_continue",
    "flow.resume_reading",
    "headers",
    "loop",
    "on_header",
    "on_headers_complete",
    "on_message_begin",
    "on_message_complete",
    "on_response_complete",
    "parser",
    "pause_writing",
    "pipeline",
    "resume_writing",
    "server_state.default_headers",
    "timeout_keep_alive",
    "timeout_keep_alive_handler",
    "timeout_keep_alive_task",
    "transport",
    "url",
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def serving_protocol() -> asyncio.Protocol:
    """Return uvicorn's own protocol with a request in work: some names exist only then."""
    near, far = socket.socketpair()
    config = uvicorn.Config(app)
    config.load()
    make = importlib.import_module(MODULE).HttpToolsProtocol
    protocol: asyncio.Protocol = make(config=config, server_state=ServerState(), app_state={})
    with far:
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=near)
        protocol.data_received(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.sleep(0)  # the request's task starts
    return protocol


def exists(owner: object, name: str) -> bool:
    try:
        attrgetter(name)(owner)
    except AttributeError:
        return False
    return True


def names_used_on_self() -> set[str]:
    return {
        node.attr
        for node in ast.walk(ast.parse(PROTOCOL.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def test_uvicorn_has_every_name_that_the_protocol_uses() -> None:
    module = importlib.import_module(MODULE)
    missing = [f"{MODULE}.{name}" for name in MODULE_NAMES if not exists(module, name)]
    assert not missing, f"uvicorn {version('uvicorn')} lacks {missing}; adapt {PROTOCOL.name}"
    protocol = asyncio.run(serving_protocol())
    missing = [name for name in PROTOCOL_NAMES if not exists(protocol, name)]
    assert not missing, (
        f"HttpToolsProtocol of uvicorn {version('uvicorn')} lacks {', '.join(missing)}: adapt "
        f"{PROTOCOL.name}, or lower the ceiling of uvicorn in pyproject.toml"
    )
    listed = {name.partition(".")[0] for name in PROTOCOL_NAMES}
    unlisted = {name for name in names_used_on_self() if exists(protocol, name)} - listed
    assert not unlisted, f"{PROTOCOL.name} uses more names of uvicorn: list {sorted(unlisted)} here"
