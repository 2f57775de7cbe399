"""Clients that send requests to a service in sequence and count the answers by status."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from app.settings import EMBEDDED_CHECKPOINT

TIMEOUT_S = 120
PAUSE_S = 0.2
"""Of a client between two requests, so that replicas that start have processor time."""

SCENE = (EMBEDDED_CHECKPOINT / "scenes" / "six_shapes.jpg").read_bytes()


def caption(client: httpx.Client) -> httpx.Response:
    """Request a caption."""
    data = {"task": "brief_caption"}
    return client.post("/v1/ground", files={"image": SCENE}, data=data)


class RepeatingClients:
    """Several clients, each of which waits for its answer before it sends the next request.

    Attributes:
        first: number of first attempts by status; 0 means no answer.
        final: the same, but with a second attempt after each 502, once `Retry-After` has passed: a
            dying replica may accept one more connection.
    """

    def __init__(
        self,
        url: str,
        number: int,
        send_request: Callable[[httpx.Client], httpx.Response] = caption,
    ) -> None:
        self._url, self._number, self._send_request = url, number, send_request
        self._stopped, self._answered = threading.Event(), threading.Condition()
        self.first, self.final = Counter[int](), Counter[int]()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests for the duration of the block."""
        threads = [threading.Thread(target=self._send_requests) for _ in range(self._number)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def wait_for(self, number: int) -> None:
        """Wait until that many more requests have been answered."""
        with self._answered:
            wanted = self.final.total() + number
            assert self._answered.wait_for(lambda: self.final.total() >= wanted, TIMEOUT_S)

    def _send_requests(self) -> None:
        with httpx.Client(base_url=self._url, timeout=TIMEOUT_S) as client:
            while not self._stopped.is_set():
                first, wait_s = self._send_once(client)
                final = first
                if first == httpx.codes.BAD_GATEWAY:
                    self._stopped.wait(wait_s)
                    final, _ = self._send_once(client)
                with self._answered:
                    self.first[first] += 1
                    self.final[final] += 1
                    self._answered.notify_all()
                self._stopped.wait(PAUSE_S)

    def _send_once(self, client: httpx.Client) -> tuple[int, float]:
        """Return the status of an answer and the seconds in its `Retry-After`."""
        try:
            answer = self._send_request(client)
        except httpx.TransportError:
            return 0, 0.0
        return answer.status_code, float(answer.headers.get("Retry-After", 0))
