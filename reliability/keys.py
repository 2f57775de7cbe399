"""`make keys`: tries every way to send a request without a valid key.

    python -m reliability.keys [--out FOLDER]

The exit code is 1 when a request is let through.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.machine import ROOT, describe_machine
from harness.service import running_service
from harness.wire import open_connection, receive, request
from reliability.results import publish

# Upper and lower case, so that a comparison that ignores case would let a request through.
KEY = "opensesame-Aa1"
OPEN = ("/livez", "/readyz", "/metrics", "/version", "/ping")
"""Paths that require no key, listed apart from the service's own table."""

ROUTES = {"predict_route": "/vertex/predict", "health_route": "/vertex"}
"""Settings: the paths of Vertex AI; the one that needs no key is the beginning of the other one."""

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE")
_DESCRIPTION = ROOT / "docs" / "openapi.json"
# 400 for what is not valid HTTP, before anything looks at keys.
_REFUSED = (400, 401)
_WRONG = (
    # No key, another scheme, or white space that no client should send.
    (),
    ("Authorization:",),
    ("Authorization: Bearer",),
    ("Authorization: Bearer ",),
    ("Authorization: Bearer wrong",),
    (f"Authorization: {KEY}",),
    (f"Authorization: Basic {KEY}",),
    (f"Authorization: Bearer{KEY}",),
    (f"Authorization: Bearer\t{KEY}",),
    # Almost the key.
    (f"Authorization: Bearer {KEY[:-1]}",),
    (f"Authorization: Bearer {KEY}x",),
    (f"Authorization: Bearer {KEY.lower()}",),
    (f"Authorization: Bearer {KEY.upper()}",),
    (f'Authorization: Bearer "{KEY}"',),
    (f"Authorization: Bearer {KEY},",),
    # Several keys in one header, as the setting lists them.
    (f"Authorization: Bearer {KEY}, Bearer {KEY}",),
    (f"Authorization: Bearer {KEY} other-key",),
    (f"Authorization: Bearer {KEY},other-key",),
    (f"Authorization: Bearer {KEY[:5]} {KEY[5:]}",),
    # Python strips these characters as white space; HTTP does not.
    (f"Authorization: Bearer \xa0{KEY}",),
    (f"Authorization: Bearer {KEY}\xa0",),
    (f"Authorization: Bearer {KEY}\x85",),
    ("Authorization: Bearer \xff\xfe",),
    ("Authorization: Bearer " + "a" * 20_000,),
    # Values that a careless comparison treats as "any" or "none".
    ("Authorization: Bearer *",),
    ("Authorization: Bearer None",),
    ("Authorization: Bearer 0",),
    ("Authorization: Bearer null",),
    # Repeated headers: the first or the last one might be checked and the other one used.
    ("Authorization: Bearer wrong", f"Authorization: Bearer {KEY}"),
    (f"Authorization: Bearer {KEY}", "Authorization: Bearer wrong"),
    (f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}"),
    # Headers that other services read a key, an address or a path from.
    (f"Proxy-Authorization: Bearer {KEY}",),
    (f"X-API-Key: {KEY}",),
    (f"Cookie: Authorization=Bearer {KEY}",),
    ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: https", "X-Real-IP: 127.0.0.1"),
    ("X-Original-URL: /livez", "X-Rewrite-URL: /livez"),
    ("X-HTTP-Method-Override: GET", "X-Forwarded-Prefix: /docs/assets"),
    ("Origin: http://127.0.0.1", "Access-Control-Request-Method: GET"),
    # The header of Moondream's clients, almost right or together with another one.
    ("X-Moondream-Auth: wrong",),
    (f"X-Moondream-Auth: Bearer {KEY}",),
    (f"X-Moondream-Auth: {KEY}", "Authorization: Bearer wrong"),
    (f"X-Moondream-Auth: {KEY}", "X-Moondream-Auth: wrong"),
    (f"X-Amzn-SageMaker-Custom-Attributes: api_key={KEY}",),
)
_MOONDREAM = "/moondream/"
_OF_MOONDREAM = (f"X-Moondream-Auth: {KEY}",)
"""Right under `_MOONDREAM`, wrong everywhere else."""

_TWO_KEYS = (*_OF_MOONDREAM, f"Authorization: Bearer {KEY}")
"""Wrong under `_MOONDREAM`, where both headers count; right everywhere else."""

# As Roboflow's clients send a key.
_BODY = json.dumps({"api_key": KEY, "key": KEY}).encode()
_JSON = ("Content-Type: application/json", f"Content-Length: {len(_BODY)}")


def guarded_paths() -> list[str]:
    """Return the paths of all doors that require a key, as the description of the routes has them.

    A parameter stands for itself: any text is a valid value.
    """
    described = json.loads(_DESCRIPTION.read_text())["paths"]
    return [path for path in (*described, ROUTES["predict_route"]) if path not in OPEN]


def _paths() -> list[str]:
    """Return all paths that require a key, and other spellings of them."""
    return [
        *guarded_paths(),
        # Slashes, case and percent-encoding, which routers and checks of keys may normalise
        # differently.
        "/v1/tasks/",
        "/v1/tasks?",
        "/v1/tasks?path=/livez",
        "//v1/tasks",
        "/v1//tasks",
        "/V1/tasks",
        "/%761/tasks",
        "/%2576%31/tasks",
        "/v1%2Ftasks",
        "/v1/tasks%00",
        "/v1/./tasks",
        # Paths that begin like an open one.
        "/livez/../v1/tasks",
        "/livez/%2e%2e/v1/tasks",
        "/docs/assets/../../v1/tasks",
        "/docs/assets",
        "/livez/",
        "/livez;/v1/tasks",
        "/ping/",
        "/ping/../invocations",
        "/moondream/../v1/tasks",
        "/nowhere",
        "/playground",
        "/playground/",
        "/playground/client",
        "/playground/client/../../v1/tasks",
        # The other forms of a request target in HTTP/1.1.
        "*",
        "http://x/v1/tasks",
        "http://x/livez/../v1/tasks",
    ]


def statuses_without_a_key(url: str, methods: Sequence[str]) -> Counter[int]:
    """Send requests without a valid key to a service that requires `KEY`; count the statuses.

    Args:
        methods: each HTTP method is combined with each path and each header.
    """
    statuses = Counter[int]()
    for method, path, headers in product(methods, _paths(), _WRONG):
        statuses[_status_of(url, method, path, headers)] += 1
    for method, path in product(methods, guarded_paths()):
        wrong = _TWO_KEYS if path.startswith(_MOONDREAM) else _OF_MOONDREAM
        statuses[_status_of(url, method, path, wrong)] += 1
        query = f"{path}?api_key={KEY}&key={KEY}&token={KEY}&access_token={KEY}"
        statuses[_status_of(url, method, query, ())] += 1
        statuses[_status_of(url, method, path, _JSON, _BODY)] += 1
    return statuses


def _status_of(url: str, method: str, path: str, headers: Sequence[str], body: bytes = b"") -> int:
    with open_connection(url) as connection:
        # `receive` waits for as many bytes as the head states; after HEAD none follow, so only the
        # closed connection ends it.
        connection.sendall(request(method, path, *headers, "Connection: close", body=body))
        return receive(connection).status


def main() -> int:
    """Run the check as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    # Two keys and two processes: each process has to split the list.
    with running_service(api_keys=f"{KEY}, other-key", http_workers=2, **ROUTES) as service:
        statuses = statuses_without_a_key(service.url, _METHODS)
    num_intruders = sum(n for status, n in statuses.items() if status not in _REFUSED)
    report = {
        "tool": "keys",
        "seconds": round(time.monotonic() - began),
        "tried": statuses.total(),
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
        "intruders": num_intruders,
        "machine": machine,
    }
    violations = [f"{num_intruders} requests passed without a key"] if num_intruders else []
    return publish(report, violations, arguments.out)


if __name__ == "__main__":
    sys.exit(main())
