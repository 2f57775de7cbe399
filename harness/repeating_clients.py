"""Clients that send a service one request after the other, and count the answers by status."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from app.settings import EMBEDDED_CHECKPOINT

TIMEOUT_S = 120
SCENE = (EMBEDDED_CHECKPOINT / "scenes" / "six_shapes.jpg").read_bytes()


def caption(client: httpx.Client) -> httpx.Response:
    """Ask for a caption."""
    data = {"task": "brief_caption"}
    return client.post("/v1/ground", files={"image": SCENE}, data=data)


class RepeatingClients:
    """Some clients, each of which waits for its answer before it asks again.

    Attributes:
        first: how many first attempts were answered with each status; 0 stands for no answer.
        final: the same after one more attempt where the first was answered 502: after the time
            that the answer says, for a replica that dies may take a connection more.
    """

    def __init__(
        self, url: str, number: int, ask: Callable[[httpx.Client], httpx.Response] = caption
    ) -> None:
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
                first, wait_s = self._ask_once(client)
                final = first
                if first == httpx.codes.BAD_GATEWAY:
                    self._stopped.wait(wait_s)
                    final, _ = self._ask_once(client)
                with self._answered:
                    self.first[first] += 1
                    self.final[final] += 1
                    self._answered.notify_all()

    def _ask_once(self, client: httpx.Client) -> tuple[int, float]:
        """The status of the answer, and in how many seconds it says to ask again."""
        try:
            answer = self._ask(client)
        except httpx.TransportError:
            return 0, 0.0
        return answer.status_code, float(answer.headers.get("Retry-After", 0))
