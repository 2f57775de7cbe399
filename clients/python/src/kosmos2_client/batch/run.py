"""A whole run: reads what an earlier one finished, runs the rest, and writes each outcome."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TextIO

from kosmos2_client.batch.names import NameSet
from kosmos2_client.batch.pacing import Pacing
from kosmos2_client.batch.progress import Counts, Progress
from kosmos2_client.batch.request import Answerer, BatchRequest, Fields
from kosmos2_client.batch.runner import Limits, Runner
from kosmos2_client.batch.sources import NameSource
from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.run_file import Line, RunWriter, open_run, read_lines, read_paths

DEFAULT_CONCURRENCY = 64
_CHECKED_ANSWERS = 20
"""One is not enough: only predictions name their prompts, and many pictures have none."""


class OtherRequest(Kosmos2ClientError):
    """The run file holds answers to another request."""


@dataclass(frozen=True)
class Continuation:
    """The rest of a run.

    Attributes:
        pending: names of the pictures that have no line; read from the disk one by one.
    """

    pending: Iterator[str]
    _options: Fields
    _writer: RunWriter
    _counts: Counts
    _progress: Progress

    def write(self, line: Line) -> None:
        """Append the outcome of a picture, and show the progress.

        Raises:
            OSError: the line cannot be written.
        """
        self._writer.append(replace(line, options=self._options))
        self._progress.count(is_error=line.error is not None)

    @property
    def exit_code(self) -> int:
        """1 if a picture of this run has an error, otherwise 0."""
        return 1 if self._counts.num_failed else 0


@dataclass(frozen=True)
class BatchRun:
    """A run over pictures.

    Attributes:
        out: the run file; an existing one is continued.
        max_concurrency: largest number of requests at once.
        progress: receives lines for people.
        clock: monotonic, in seconds.
    """

    sources: NameSource
    request: BatchRequest
    out: Path
    max_concurrency: int = DEFAULT_CONCURRENCY
    limits: Limits = field(default_factory=Limits)
    progress: TextIO = sys.stderr
    clock: Callable[[], float] = time.monotonic

    async def run(self, answerer: Answerer) -> int:
        """Run all pictures that have no line yet; return the exit code.

        Returns:
            1 if a picture of this run has an error, otherwise 0.

        Raises:
            Kosmos2ClientError: a source or the run file is invalid, or the run cannot continue.
            OSError: a source cannot be read, or an outcome cannot be written.
        """
        with self.continued() as continuation:
            pacing = Pacing(self.max_concurrency, self.clock)
            runner = Runner(
                answerer,
                self.request,
                self._read_picture,
                continuation.write,
                pacing,
                self.clock,
                self.limits,
            )
            await runner.run(continuation.pending)
        return continuation.exit_code

    @contextmanager
    def continued(self) -> Iterator["Continuation"]:
        """Open the run file for the block, after the lines of earlier runs.

        Raises:
            Kosmos2ClientError: a source or the run file is invalid.
            OSError: a source cannot be read, or the run file cannot be written.
        """
        with open_run(self.out) as writer:
            self._check_request()
            num_before = len(self._names_done())
            num_pending = sum(1 for _ in self._pending())
            counts = Counts(num_before + num_pending, num_before)
            progress = Progress(counts, self.progress, self.clock)
            try:
                fields = self.request.fields
                yield Continuation(self._pending(), fields, writer, counts, progress)
            finally:
                progress.close()

    def _pending(self) -> Iterator[str]:
        """Return the names that have no line."""
        return self.sources.names(self._names_done())

    async def _read_picture(self, name: str) -> bytes:
        # In a thread, because a network file system may be slow.
        return await asyncio.to_thread((Path(self.sources.root) / name).read_bytes)

    def _names_done(self) -> NameSet:
        """Return the names that have a line."""
        done = NameSet()
        for name in read_paths(self.out):
            done.add(name)
        return done

    def _check_request(self) -> None:
        """Check the first answers of an earlier run.

        Raises:
            OtherRequest: one of them belongs to another request.
        """
        lines = (line for line in read_lines(self.out) if line.answer)
        for line in islice(lines, _CHECKED_ANSWERS):
            if difference := self.request.difference(line):
                message = f"has answers for {difference}; write to another file"
                raise OtherRequest(f"{self.out} {message}")
