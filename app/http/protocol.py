"""HTTP/1.1 on one connection, with limits of time and size that uvicorn does not enforce.

`GuardedProtocol` uses names of uvicorn that are not part of its documented interface;
`tests/http/test_uvicorn_names.py` lists them and fails when a new uvicorn lacks one.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.errors import MalformedRequest, RequestError, RequestTimeout
from app.http.answer_transport import AnswerTransport, UnchunkedTransport
from app.http.heads import MAX_HEADER_BYTES, encode_head, error_of_head, headers_too_large, rooted
from app.http.idle_connections import IdleConnections
from app.http.problems import response_of
from app.http.security_headers import SECURITY_HEADERS
from app.http.write_timeout import WriteTimeout
from app.settings import Settings
from app.telemetry.logs import get_logger

MAX_PIPELINED = 8
"""Requests that may wait on one connection for the answer to an earlier request."""

_FRAMING_BYTES = 2**20
"""Allowance for the framing of chunks, in addition to twice the largest body."""

_MIN_DISCARDED_BYTES = 64 * 2**20
"""At least this much of a body is read and discarded after its request has been answered. A proxy
that is reset while it sends reports 502 instead of the answer."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol; it closes connections that clients hold without using them.

    - The headers of a request have limits of time and size.
    - After an answer, the rest of the request's body is read and discarded for a limited time, also
      before the connection is closed (nginx calls this lingering close). If the service closed it
      while the client still writes, the system would reset the connection, and the client would
      lose the part of the answer that it has not read yet (RFC 9112, section 9.6).
    - A connection is aborted when its client reads nothing of an answer for a limited time.
    - Bytes that are not HTTP are answered with a problem, after the requests before them.
    - Requests to upgrade to another protocol are ignored (RFC 9110, section 7.8).
    - HTTP/1.0 clients get neither chunks nor `100 Continue`.

    Args:
        idle: all idle connections of this process.
        protocol_kwargs: the arguments that uvicorn passes to a protocol.
    """

    def __init__(self, settings: Settings, idle: IdleConnections, **protocol_kwargs: Any) -> None:
        super().__init__(**protocol_kwargs)
        self._settings, self._idle = settings, idle
        self.timeout_keep_alive = settings.keep_alive_s
        self._max_request_bytes = 2 * settings.max_body_bytes + _FRAMING_BYTES
        self._max_discarded_bytes = max(self._max_request_bytes, _MIN_DISCARDED_BYTES)
        self._awaits_headers = True
        self._is_lingering = False
        # The request that is being answered; `cycle` is the last one of which the headers are read.
        self._current: RequestResponseCycle = None  # type: ignore[assignment]
        self._num_bytes = 0  # of the headers or the body that are being read
        self._rejection: RequestError | None = None
        self._waiting_rejection: RequestError | None = None
        self._reading_timer: asyncio.TimerHandle | None = None
        self._write_timeout: WriteTimeout = None  # type: ignore[assignment]  # set with `transport`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request's headers."""
        super().connection_made(transport)
        self._write_timeout = WriteTimeout(transport, self._settings.body_timeout_s)
        self._idle.add(transport)
        # If all others are busy, the new connection itself is the one that has been idle longest.
        self._idle.make_room(len(self.connections))
        self._start_reading_timer(self._settings.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        self._cancel_answer()
        self._idle.discard(self.transport)
        self._stop_reading_timer()
        self._write_timeout.stop()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes, and enforce the limits of size."""
        if self._awaits_headers and self._reading_timer is None:
            self._start_reading_timer(self._settings.header_timeout_s)
        self._num_bytes += len(data)
        if not self._is_lingering and self._waiting_rejection is None:
            self._unset_keepalive_if_required()
            self._parse(data)
        # The application enforces the limit of a body; this one stops endless chunk framing, and
        # clients that keep sending after their request has been answered.
        is_discarding = self._is_lingering or not self._is_answering
        if self._num_bytes > (
            self._max_discarded_bytes if is_discarding else self._max_request_bytes
        ):
            self.transport.abort()
        elif self._awaits_headers and self._num_bytes > MAX_HEADER_BYTES:
            self._reject(headers_too_large())

    def on_message_begin(self) -> None:
        """Start the time limit of headers that arrive together with the end of a request."""
        super().on_message_begin()
        if self._reading_timer is None:
            self._num_bytes = 1
            self._start_reading_timer(self._settings.header_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; ignore trailers, which follow the body and must not change the request."""
        if self._awaits_headers:
            super().on_header(name, value)
        elif name.lower() == b"connection":  # the parser would ignore all later requests
            self._rejection = MalformedRequest("trailers may not contain Connection")
            raise self._rejection

    def on_headers_complete(self) -> None:
        """Check the headers and start to serve the request."""
        self._stop_reading_timer()
        self._unset_keepalive_if_required()
        method, version = self.parser.get_method(), self.parser.get_http_version()
        self._rejection = error_of_head(method, version, self.url, self.headers)
        if len(self.pipeline) >= MAX_PIPELINED:
            self._rejection = MalformedRequest(
                f"more than {MAX_PIPELINED} requests wait on one connection; read the answers first"
            )
        if self._rejection is not None:
            raise self._rejection  # the parser raises it again, and `_parse` refuses the request
        if self.parser.should_upgrade():
            return  # `_parse` parses the head again, without the upgrade
        self.url = rooted(self.url)
        self.expect_100_continue = self.expect_100_continue and version >= "1.1"
        super().on_headers_complete()  # raises an error if the path is malformed
        self._awaits_headers, self._num_bytes = False, 0
        self._idle.discard(self.transport)
        # uvicorn has created the cycle, but its task has not written anything yet.
        make_transport = UnchunkedTransport if version < "1.1" else AnswerTransport
        self.cycle.transport = make_transport(  # type: ignore[assignment]
            self.transport, self._on_answer_end, has_body=method != b"HEAD"
        )

    def on_message_complete(self) -> None:
        """After the last byte of a request, wait for the next one."""
        if self.parser.should_upgrade():
            return
        self._stop_reading_timer()
        self._awaits_headers, self._num_bytes = True, 0
        super().on_message_complete()
        if not self._is_answering:  # the answer was complete before the body
            self._idle.add(self.transport)
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """After an answer, wait for the rest of the request's body or for the next request."""
        if self._is_lingering:
            return
        super().on_response_complete()
        if self._waiting_rejection is not None and not self._is_answering:
            self._send_rejection(self._waiting_rejection)
        elif not self._awaits_headers:  # the body still arrives, so the connection is not idle
            self._unset_keepalive_if_required()
            self._start_reading_timer(self._settings.body_timeout_s)
        elif not self._is_answering:
            self._idle.add(self.transport)

    def pause_writing(self) -> None:
        """Start the time limit of writing: the client reads more slowly than the service writes."""
        super().pause_writing()
        self._write_timeout.start()

    def resume_writing(self) -> None:
        """Stop the time limit of writing: the client has caught up."""
        super().resume_writing()
        self._write_timeout.stop()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and ignore requests to upgrade to another protocol.

        httptools ends a request with an `Upgrade` header after its headers, and would parse its
        body as the next request, which allows request smuggling. Therefore a new parser gets the
        same headers without `Upgrade`, then the body.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            head = self._head_without_upgrade()
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            end_of_headers = upgrade.args[0]  # as an index of `data`
            self._parse(head + data[end_of_headers:])
        except HttpParserError:
            self._reject(self._rejection or MalformedRequest("the request is not HTTP/1.1"))

    def _head_without_upgrade(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version()
        request_line = b"%b %b HTTP/%b\r\n" % (method, self.url, version.encode())
        headers = [(name, value) for name, value in self.headers if name != b"upgrade"]
        return encode_head(request_line, headers)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def _reject(self, error: RequestError) -> None:
        """Answer a request that did not reach the application, after all requests before it."""
        if self._is_lingering or self._waiting_rejection is not None:
            return
        is_own_answer = not self._awaits_headers and self.cycle is self._current
        if is_own_answer and self.cycle.response_complete:
            self._linger()  # a second answer would be read as that to another request
        elif is_own_answer and self.cycle.response_started:
            self.transport.abort()  # a second response would become part of the first one's body
        elif is_own_answer or not self._is_answering:
            self._send_rejection(error)
        else:
            self._waiting_rejection = error
            if not self._awaits_headers:  # the error is in the body of a request that waits
                self.pipeline.popleft()

    def _send_rejection(self, error: RequestError) -> None:
        request_id = uuid.uuid4().hex
        response = response_of(error, request_id)
        get_logger().info("request rejected", request_id=request_id, status=response.status_code)
        response.headers.update(SECURITY_HEADERS)
        response.headers.update({"X-Request-ID": request_id, "Connection": "close"})
        headers = [*self.server_state.default_headers, *response.raw_headers]
        first_line = STATUS_LINE[response.status_code]
        self.transport.write(encode_head(first_line, headers) + bytes(response.body))
        self._linger()

    def _on_answer_end(self) -> None:
        if self._awaits_headers:
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Send nothing more, but read for a limited time: the client may still send."""
        self._cancel_answer()
        self._unset_keepalive_if_required()
        self._is_lingering = True
        self._idle.add(self.transport)
        with suppress(OSError):  # the client has disconnected
            self.transport.write_eof()
        self.flow.resume_reading()
        self._start_reading_timer(self._settings.body_timeout_s)

    def _cancel_answer(self) -> None:
        if self._is_answering:
            self._current.disconnected = True
            self._current.message_event.set()

    @property
    def _is_answering(self) -> bool:
        return self._current is not None and not self._current.response_complete

    def _start_reading_timer(self, timeout_s: float) -> None:
        self._stop_reading_timer()
        self._reading_timer = self.loop.call_later(timeout_s, self._on_reading_timeout)

    def _stop_reading_timer(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _on_reading_timeout(self) -> None:
        if self.transport.is_closing():
            return
        if self._is_lingering:
            self.transport.abort()
        elif self._is_answering:  # the next request of this connection has to wait anyway
            self._start_reading_timer(self._settings.header_timeout_s)
        elif self._awaits_headers and self._num_bytes > 0:
            timeout_s = self._settings.header_timeout_s
            self._reject(RequestTimeout(f"the headers were not complete within {timeout_s:g} s"))
        elif self._awaits_headers:  # without an answer: the client could take it for the next one
            self.transport.abort()
        else:  # the request is answered, but the client may not have read the answer yet
            self._linger()


def protocol_factory(settings: Settings, max_connections: int) -> Callable[..., GuardedProtocol]:
    """Return the function that uvicorn calls to create the protocol of a connection."""
    idle = IdleConnections(max_connections)

    def make(**protocol_kwargs: Any) -> GuardedProtocol:
        return GuardedProtocol(settings, idle, **protocol_kwargs)

    return make
