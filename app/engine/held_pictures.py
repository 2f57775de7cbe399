"""Pictures that HTTP processes hold at the engine, because several requests are about each."""

from dataclasses import dataclass

from app.engine.kv_slots import PictureCache
from app.ipc.engine_messages import HoldPicture


@dataclass(frozen=True)
class _Held:
    digest: bytes
    pixels: bytes
    deadline: float


class HeldPictures:
    """The held pictures by HTTP process and key; keeps their prefixes in the cache.

    Args:
        cache: pins the prefixes of held pictures.
    """

    def __init__(self, cache: PictureCache) -> None:
        self._cache = cache
        self._held: dict[tuple[bytes, int], _Held] = {}

    def hold(self, client: bytes, message: HoldPicture, pixels: bytes) -> None:
        """Hold a picture until it is released, or its deadline passes."""
        self._held[client, message.key] = _Held(message.digest, pixels, message.deadline)
        self._cache.pin(message.digest)

    def pixels(self, client: bytes, key: int) -> bytes:
        """Return the bytes of a held picture; empty if it is not held."""
        held = self._held.get((client, key))
        return b"" if held is None else held.pixels

    def release(self, client: bytes, key: int) -> None:
        """End the hold of a picture, if it still lasts."""
        held = self._held.pop((client, key), None)
        if held is not None:
            self._cache.unpin(held.digest)

    def release_client(self, client: bytes) -> None:
        """End all holds of an HTTP process that has ended."""
        for name in [name for name in self._held if name[0] == client]:
            self.release(*name)

    def expire(self, now: float) -> None:
        """End the holds whose deadline has passed: their HTTP process may have died.

        Args:
            now: seconds on the monotonic clock.
        """
        for name in [name for name, held in self._held.items() if held.deadline <= now]:
            self.release(*name)
