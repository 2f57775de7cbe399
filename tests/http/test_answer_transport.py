"""The headers of an answer are sent with the beginning of its body."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from app.http.answer_transport import AnswerTransport, UnchunkedTransport

HEADERS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"
LAST = b"4\r\nlast\r\n"


class Written(list[bytes]):
    """A transport that keeps what is written in each call; `LAST` ends it."""

    def write(self, data: bytes) -> None:
        self.append(data)

    def is_closing(self) -> bool:
        return LAST in self


def written_by(
    answer: Callable[[AnswerTransport], None],
    kind: type[AnswerTransport] = AnswerTransport,
    *,
    has_body: bool = True,
) -> tuple[list[bytes], list[bytes]]:
    """Return what has been written after an answer, and after the next turn of the event loop."""

    async def run() -> tuple[list[bytes], list[bytes]]:
        written = Written()
        answer(kind(cast(asyncio.Transport, written), lambda: None, has_body=has_body))
        at_once = list(written)
        await asyncio.sleep(0)
        return at_once, written

    return asyncio.run(run())


def test_headers_and_body_are_written_in_one_call() -> None:
    def answer(transport: AnswerTransport) -> None:
        transport.write(HEADERS)
        transport.write(CHUNK)
        transport.write(CHUNK)

    assert written_by(answer) == ([HEADERS + CHUNK, CHUNK],) * 2


def test_headers_do_not_wait_longer_than_a_turn_of_the_loop() -> None:
    """The first event of a stream may follow much later."""
    assert written_by(lambda transport: transport.write(HEADERS)) == ([], [HEADERS])


def test_headers_without_a_body_are_written_at_once() -> None:
    """Nothing follows them that would send them before the connection is closed."""
    written = written_by(lambda transport: transport.write(HEADERS), has_body=False)
    assert written == ([HEADERS],) * 2


def test_the_permission_to_send_a_body_is_written_at_once() -> None:
    """The headers of the answer still wait for its body."""
    permission = b"HTTP/1.1 100 Continue\r\n\r\n"

    def answer(transport: AnswerTransport) -> None:
        for data in (permission, HEADERS, CHUNK):
            transport.write(data)

    assert written_by(answer) == ([permission, HEADERS + CHUNK],) * 2


def test_the_end_of_an_answer_sends_the_headers() -> None:
    """As after an error in the application before the body."""

    def answer(transport: AnswerTransport) -> None:
        transport.write(HEADERS)
        transport.close()

    assert written_by(answer) == ([HEADERS],) * 2


def test_nothing_is_written_after_the_client_has_disconnected() -> None:
    """Otherwise asyncio logs a warning for each write."""

    def answer(transport: AnswerTransport) -> None:
        for data in (HEADERS, CHUNK, LAST, CHUNK, CHUNK):
            transport.write(data)

    assert written_by(answer) == ([HEADERS + CHUNK, LAST],) * 2


@pytest.mark.parametrize("last", [b"", b"0\r\n\r\n"])
def test_an_unchunked_answer_has_only_the_content_of_its_chunks(last: bytes) -> None:
    def answer(transport: AnswerTransport) -> None:
        for data in (HEADERS, CHUNK, last):
            transport.write(data)

    headers = b"HTTP/1.1 200 OK\r\n\r\n"
    assert written_by(answer, UnchunkedTransport) == ([headers + b"hello"],) * 2
