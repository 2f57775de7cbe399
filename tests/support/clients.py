"""Clients that ask a service one request after the other, and count how they were answered."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from app.settings import EMBEDDED_CHECKPOINT

TIMEOUT_S = 120
SCENE = (EMBEDDED_CHECKPOINT / "scenes" / "six_shapes.jpg").read_bytes()


def caption(client: httpx.Client) -> int:
    """Ask for a caption; the status of the answer."""
    data = {"task": "brief_caption"}
    return client.post("/v1/ground", files={"image": SCENE}, data=data).status_code


class Clients:
    """Some clients, each of which waits for its answer before it asks again.

    Args:
        url: of the service.
        number: how many.
        ask: sends one request and gives the status of its answer.

    Attributes:
        first: how many first attempts were answered with each status; 0 stands for no answer.
        final: the same after one more attempt where the first was answered 502.
    """

    def __init__(self, url: str, number: int, ask: Callable[[httpx.Client], int] = caption) -> None:
        self._url, self._number, self._ask = url, number, ask
        self._stopped, self._answered = threading.Event(), threading.Condition()
        self.first, self.final = Counter[int](), Counter[int]()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """They ask for as long as the block lasts."""
        threads = [threading.Thread(target=self._keep_asking) for _ in range(self._number)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def wait_for(self, number: int) -> None:
        """Until that many more requests have been answered."""
        with self._answered:
            wanted = self.final.total() + number
            assert self._answered.wait_for(lambda: self.final.total() >= wanted, TIMEOUT_S)

    def _keep_asking(self) -> None:
        with httpx.Client(base_url=self._url, timeout=TIMEOUT_S) as client:
            while not self._stopped.is_set():
                first = final = self._status(client)
                if first == httpx.codes.BAD_GATEWAY:
                    final = self._status(client)
                with self._answered:
                    self.first[first] += 1
                    self.final[final] += 1
                    self._answered.notify_all()

    def _status(self, client: httpx.Client) -> int:
        try:
            return self._ask(client)
        except httpx.TransportError:
            return 0
