"""HTTP/1.1 on one connection, with limits of time and size that uvicorn leaves open."""

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import HeadersTooLarge, MalformedRequest, RequestError, RequestTimeout
from app.http.answer_transport import AnswerTransport, UnchunkedTransport
from app.http.idle_connections import IdleConnections
from app.http.problems import response_of
from app.http.security_headers import SECURITY_HEADERS
from app.settings import Settings
from app.telemetry.logs import get_logger

MAX_HEADER_BYTES = 32 * 2**10
"""Request line and headers together."""

MAX_PIPELINED = 8
"""Requests of one connection that wait for the answer to another."""

_FRAMING_BYTES = 2**20
"""What chunks may cost beside what they hold, at most as much again as a body."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol; it parts with clients that hold a connection for nothing.

    - Headers have to be complete in time, and may be so large and no larger.
    - What is left of a body once it is answered is read and thrown away, for a while; so it is
      where the answer ends the connection. A client that still writes to a closed one is reset by
      the system, and what it had not read of its answer is gone (RFC 9112, section 9.6).
    - Whoever takes nothing of an answer for a while is left.
    - What is not HTTP is answered by a problem too.
    - An offer of another protocol is ignored (RFC 9110, section 7.8).
    - A client of HTTP/1.0 gets neither chunks nor `100 Continue`.

    Args:
        settings: limits.
        idle: all idle connections of this process.
        protocol_kwargs: what uvicorn gives a protocol.
    """

    def __init__(self, settings: Settings, idle: IdleConnections, **protocol_kwargs: Any) -> None:
        super().__init__(**protocol_kwargs)
        self._settings, self._idle = settings, idle
        self.timeout_keep_alive = settings.keep_alive_s
        self._max_request_bytes = 2 * settings.max_body_bytes + _FRAMING_BYTES
        self._awaits_headers = True
        self._is_parting = False
        self._num_bytes = 0  # of the headers, or of the body, that are being read
        self._refusal: RequestError | None = None
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._idle.add(transport)
        self._idle.make_room(len(self.connections))
        self._limit_reading(self._settings.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._idle.discard(self.transport)
        self._stop_reading_timer()
        self._stop_writing_timer()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and count it."""
        if self._awaits_headers and self._reading is None:
            self._limit_reading(self._settings.header_timeout_s)
        self._num_bytes += len(data)
        if not self._is_parting:
            self._unset_keepalive_if_required()
            self._parse(data)
        if self._num_bytes > self._max_request_bytes:
            self.transport.abort()
        elif self._awaits_headers and self._num_bytes > MAX_HEADER_BYTES:
            self._refuse(_headers_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers come behind the body, when nobody looks for them."""
        if self._awaits_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to serve the request."""
        self._stop_reading_timer()
        self._unset_keepalive_if_required()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEADER_BYTES:
            self._refusal = _headers_too_large()
        elif len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = MalformedRequest("too many requests wait on this connection")
        elif self.parser.get_method() == b"CONNECT":
            self._refusal = MalformedRequest("the service is not a proxy")
        if self._refusal is not None:
            raise self._refusal  # the parser raises it again, and `_parse` refuses the request
        if self.parser.should_upgrade():
            return  # `_parse` parses the head again, without the offer
        self._awaits_headers, self._num_bytes = False, 0
        self._idle.discard(self.transport)
        is_old = self.parser.get_http_version() < "1.1"
        self.expect_100_continue = self.expect_100_continue and not is_old
        super().on_headers_complete()
        answer_transport = UnchunkedTransport if is_old else AnswerTransport
        self.cycle.transport = answer_transport(self.transport, self._end_answer)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """Behind the last byte of a request."""
        if self.parser.should_upgrade():
            return
        self._stop_reading_timer()
        self._awaits_headers, self._num_bytes = True, 0
        super().on_message_complete()
        if not self._is_answering:  # the body of a request that was answered long ago
            self._idle.add(self.transport)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Behind the last byte of an answer."""
        if self._is_parting:
            return
        super().on_response_complete()
        if not self._awaits_headers:  # the connection is not idle yet
            self._unset_keepalive_if_required()
            self._limit_reading(self._settings.body_timeout_s)
        elif not self._is_answering:
            self._idle.add(self.transport)

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pause_writing()
        self._limit_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stop_writing_timer()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and ignore offers of another protocol.

        httptools ends a request with an offer at its headers, and would parse its body as the next
        request. A new parser gets the same headers without the offer, then the body.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            head = self._head_without_offer()
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self._parse(head + data[offer.args[0] :])
        except HttpParserError:
            self._refuse(self._refusal or MalformedRequest("the request is not HTTP/1.1"))

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        request_line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        headers = [(name, value) for name, value in self.headers if name != b"upgrade"]
        return request_line + _encode_headers(headers) + b"\r\n"

    def _refuse(self, error: RequestError) -> None:
        """Answer a request that never reached the application, and close the connection."""
        if self._is_parting:
            return
        if self._is_answering and self.cycle.response_started:
            self.transport.abort()
            return
        request_id = uuid.uuid4().hex
        response = response_of(error, request_id)
        get_logger().info("request refused", request_id=request_id, status=response.status_code)
        response.headers.update(SECURITY_HEADERS)
        response.headers.update({"X-Request-ID": request_id, "Connection": "close"})
        headers = [*self.server_state.default_headers, *response.raw_headers]
        head = STATUS_LINE[response.status_code] + _encode_headers(headers) + b"\r\n"
        self.transport.write(head + bytes(response.body))
        self._part()

    def _end_answer(self) -> None:
        if self._awaits_headers:
            self.transport.close()
        else:
            self._part()

    def _part(self) -> None:
        """Say no more, but read on for a while: the client may not have read its answer yet."""
        if self._is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_parting = True
        self._idle.add(self.transport)
        with suppress(OSError):  # it has gone
            self.transport.write_eof()
        self.flow.resume_reading()
        self._limit_reading(self._settings.body_timeout_s)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_reading(self, timeout_s: float) -> None:
        self._stop_reading_timer()
        self._reading = self.loop.call_later(timeout_s, self._end_reading)

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _end_reading(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_parting:
            self.transport.abort()
        elif self._is_answering:  # a later request of the same connection has to wait anyway
            self._limit_reading(self._settings.header_timeout_s)
        elif self._awaits_headers and self._num_bytes > 0:
            self._refuse(RequestTimeout("the headers were not complete in time"))
        elif self._awaits_headers:
            self.transport.abort()
        else:  # its request is answered, and it may not have read that yet
            self._part()

    def _limit_writing(self) -> None:
        self._stop_writing_timer()
        before = self.transport.get_write_buffer_size()
        timeout_s = self._settings.body_timeout_s
        self._writing = self.loop.call_later(timeout_s, self._end_writing, before)

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _end_writing(self, num_bytes_before: int) -> None:
        """Leave a client that took nothing; wait on for one that took something."""
        if self.transport.get_write_buffer_size() < num_bytes_before:
            self._limit_writing()
        else:
            self.transport.abort()


def protocol_factory(settings: Settings, max_connections: int) -> Callable[..., GuardedProtocol]:
    """Return the function that uvicorn calls for the protocol of each connection."""
    idle = IdleConnections(max_connections)

    def make(**protocol_kwargs: Any) -> GuardedProtocol:
        return GuardedProtocol(settings, idle, **protocol_kwargs)

    return make


def _encode_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _headers_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"the headers may have at most {MAX_HEADER_BYTES:,} bytes")
