"""Keeps the 8-bit weights of a checkpoint in a file, so that the next start need not quantize."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from app.checkpoint.kept_weights import KeptWeights
from app.errors import CheckpointError
from app.model.quantised import QuantizedWeight
from app.model.quantised_file import FileLayout, digest_of
from app.telemetry.logs import get_logger


class QuantizedCache:
    """Reads weights from a file, or writes the file if it is missing or of another checkpoint.

    Use it as a context for one start. A file that cannot be read or written costs one line in the
    log, and the time to quantize. A file that is not complete never gets its name.

    Args:
        shapes: (O, I) of each layer's weight, by its name.
    """

    def __init__(self, kept: KeptWeights, shapes: Mapping[str, tuple[int, int]]) -> None:
        self._path = kept.path
        self._layout = FileLayout.of(kept.source, shapes)
        self._known: Mapping[str, bytes] = {}
        self._written: dict[str, bytes] = {}
        self._partial: PartialFile | None = None
        self._damaged: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._known = self._layout.read_digests(self._path)
        except (OSError, CheckpointError):
            self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._partial is not None:
            is_complete = len(self._written) == len(self._layout.shapes)
            self._end(self._partial, is_complete=is_complete and kind is None)
        elif self._damaged:
            get_logger().warning(
                "8-bit weights on disk are damaged", file=str(self._path), layers=len(self._damaged)
            )
            with contextlib.suppress(OSError):
                self._path.unlink()  # the next start writes it again
        elif self._known and kind is None:
            get_logger().info("8-bit weights read from disk", file=str(self._path))

    def read(self, name: str) -> QuantizedWeight | None:
        """Return the weight of a layer, or `None` if it is not there; any thread may call it."""
        if name not in self._known:
            return None
        try:
            return self._layout.read(self._path, name, self._known[name])
        except (OSError, CheckpointError):
            self._damaged.append(name)
            return None

    def write(self, name: str, weight: QuantizedWeight) -> None:
        """Keep the weight of a layer, unless it was read."""
        if self._partial is None:
            return
        try:
            self._layout.write(self._partial.stream, name, weight)
            self._written[name] = digest_of(weight)
        except OSError as error:
            self._give_up(error)

    def _begin(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = PartialFile(self._path)
        except OSError as error:
            self._give_up(error)

    def _end(self, partial: "PartialFile", *, is_complete: bool) -> None:
        if not is_complete:  # the model could not be loaded
            partial.discard()
            return
        try:
            self._layout.complete(partial.stream, self._written)
            partial.commit()
        except OSError as error:
            self._give_up(error)
            return
        size_mb = round(self._layout.num_bytes / 1e6)
        get_logger().info("8-bit weights kept for next start", file=str(self._path), mb=size_mb)

    def _give_up(self, error: OSError) -> None:
        """Log why the weights are not kept, and write no more of them."""
        if self._partial is not None:
            self._partial.discard()
            self._partial = None
        get_logger().warning(
            "8-bit weights not kept for next start", file=str(self._path), reason=error.strerror
        )


class PartialFile:
    """A file under a temporary name next to its own, which it gets when it is complete.

    One process writes at a time. The next process overwrites the rest of one that was killed.

    Raises:
        OSError: the file cannot be written, or another process writes it.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, path.with_name(f"{path.name}.partial")
        descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.stream: BinaryIO = os.fdopen(descriptor, "wb")
        try:
            if not self._lock(descriptor):
                raise BlockingIOError(errno.EAGAIN, "another process writes it")
            self.stream.truncate(0)
        except OSError:
            self.stream.close()
            raise

    def _lock(self, descriptor: int) -> bool:
        """Lock the file; return false if another process has locked it, or had until now."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, another process may have renamed or removed this file.
            return os.path.samestat(os.fstat(descriptor), os.stat(self._partial))
        except (BlockingIOError, FileNotFoundError):
            return False

    def commit(self) -> None:
        """Give the file its name, once its content is on the disk.

        Raises:
            OSError: the content could not be written.
        """
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self._partial.replace(self._path)
        self.stream.close()

    def discard(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):
            self._partial.unlink()
        with contextlib.suppress(OSError):  # writes what is buffered, which may fail again
            self.stream.close()
