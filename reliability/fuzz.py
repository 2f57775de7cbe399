"""`make fuzz`: damaged pictures through the decoder, damaged pictures and requests over HTTP.

    python -m reliability.fuzz [--count 500] [--out FOLDER]

The exit code is 1 when an input causes a 5xx answer or ends a process of the service, or when the
number of inputs is below the goal.
"""

import argparse
import asyncio
import itertools
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from app.errors import RequestError
from app.http.problems import PROBLEMS
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from benchmarks.machine import describe_machine
from harness.formats import FUZZED
from harness.heic_files import heic_files
from harness.mutants import mutants
from harness.service import RunningService, running_service
from reliability.damaged_requests import QUICK_CAPTION, damaged_requests
from reliability.goals import FUZZ_COUNT, LEAST_BAD_INPUTS, LEAST_OVER_HTTP
from reliability.results import publish

# So small that damaged sizes and lengths reach the limits.
SETTINGS = {"max_body_bytes": 200_000, "max_image_pixels": 10**6}
_SHARE_OVER_HTTP, _SHARE_OF_REQUESTS = 0.1, 1.0
_TIMEOUT_S, _WAIT_S = 120.0, 5.0
# Many, because a sender waits for `_WAIT_S` whenever the service expects more bytes.
_NUM_SENDERS = 16
FILES = FUZZED | heic_files()
_STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")


async def decode_mutants(count: int) -> Counter[str]:
    """Decode damaged pictures in a real picture process and count the outcomes.

    Args:
        count: mutants of each file.
    """
    ends = Counter[str]()
    settings = Settings(picture_processes=1, max_image_pixels=SETTINGS["max_image_pixels"])
    async with PicturePool(settings) as pool:
        for name, data in FILES.items():
            for mutant in mutants(data, count, f"decoder {name}"):
                ends[await _end_of(mutant, pool)] += 1
    return ends


async def _end_of(mutant: bytes, pool: PicturePool) -> str:
    try:
        await pool.decode(mutant)
    except RequestError as error:
        # Only this message of the pool means that a signal ended the process.
        is_end = "within the limits" in str(error)
        return "ended its process" if is_end else PROBLEMS[type(error)].code
    return "decoded"


def post_mutants(service: RunningService, count: int) -> Counter[str]:
    """Post damaged pictures and count the answers by status and code.

    Args:
        count: mutants of each file.
    """
    ends = Counter[str]()
    with httpx.Client(base_url=service.url, timeout=_TIMEOUT_S) as client:
        for name, data in FILES.items():
            for mutant in mutants(data, count, f"http {name}"):
                response = client.post("/v1/ground", files={"image": mutant}, data=QUICK_CAPTION)
                code = "" if response.is_success else response.json()["code"]
                ends[f"{response.status_code} {code}".strip()] += 1
    return ends


def send_damaged_requests(service: RunningService, count: int) -> Counter[str]:
    """Send requests damaged anywhere or in their bodies; count the answers by status.

    Args:
        count: requests per kind and place of damage.
    """
    requests = itertools.chain.from_iterable(damaged_requests(service.url, count).values())
    with ThreadPoolExecutor(_NUM_SENDERS) as senders:
        return Counter(senders.map(partial(status_of, service.url), requests))


def status_of(url: str, request: bytes) -> str:
    """Return the status of the first answer on a connection, or `closed`.

    The service drops a request whose sender closes its side. The sender therefore does so only
    after a wait: the service may expect more than a damaged request has.
    """
    address = urlsplit(url)
    received = b""
    with socket.create_connection((address.hostname, address.port), _TIMEOUT_S) as connection:
        try:
            connection.sendall(request)
            select.select([connection], [], [], _WAIT_S)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except OSError:
            pass  # the service has closed the connection before it read everything
    found = _STATUS.match(received)
    return found[1].decode() if found else "closed"


def processes_of(service: RunningService) -> set[int]:
    """Return the process ids of a service."""
    return {child.pid for child in psutil.Process(service.process.pid).children(recursive=True)}


def fuzz(count: int) -> dict[str, Any]:
    """Run all three kinds of fuzzing and return the report.

    Args:
        count: mutants of each file through the decoder; the other kinds are in proportion.
    """
    parts = {"decoder": asyncio.run(decode_mutants(count))}
    with running_service(**SETTINGS) as service:
        before = processes_of(service)
        parts["pictures"] = post_mutants(service, max(1, round(_SHARE_OVER_HTTP * count)))
        parts["requests"] = send_damaged_requests(
            service, max(1, round(_SHARE_OF_REQUESTS * count))
        )
        # The supervisor replaces a process, so a missing id shows its end, not a missing process.
        num_ended = len(before - processes_of(service))
    answers = parts["pictures"] + parts["requests"]
    return {
        "tool": "fuzz",
        **{name: dict(sorted(ends.items())) for name, ends in parts.items()},
        "bad_inputs": sum(ends.total() for ends in parts.values()),
        "over_http": answers.total(),
        "server_errors": sum(n for end, n in answers.items() if end.startswith("5")),
        "processes_ended": num_ended + parts["decoder"]["ended its process"],
    }


def violations_of(report: dict[str, Any], share: float = 1.0) -> Iterator[str]:
    """Yield the goals that were missed.

    >>> good = {"server_errors": 0, "processes_ended": 0, "bad_inputs": 22_000, "over_http": 2_000}
    >>> list(violations_of(good))
    []
    >>> list(violations_of(good | {"server_errors": 1, "bad_inputs": 30}))
    ['server errors: 1', 'bad inputs: 30']

    Args:
        report: the result of `fuzz`.
        share: of a full run; the goals for the numbers of inputs scale with it.
    """
    for name in ("server_errors", "processes_ended"):
        if report[name]:
            yield f"{name.replace('_', ' ')}: {report[name]}"
    for name, least in (("bad_inputs", LEAST_BAD_INPUTS), ("over_http", LEAST_OVER_HTTP)):
        if report[name] < share * least:
            yield f"{name.replace('_', ' ')}: {report[name]}"


def main() -> int:
    """Run the fuzzing as the command line requests and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=FUZZ_COUNT, help="mutants of each file")
    parser.add_argument("--out", type=Path, help="folder for the JSON report")
    arguments = parser.parse_args()
    machine, began = describe_machine(), time.monotonic()
    report = fuzz(arguments.count)
    report |= {"seconds": round(time.monotonic() - began), "machine": machine}
    return publish(report, list(violations_of(report, arguments.count / FUZZ_COUNT)), arguments.out)


if __name__ == "__main__":
    sys.exit(main())
