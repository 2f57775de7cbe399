"""Runs a request over pictures: as many at once as the service accepts, each until it ends.

Each outcome is written as soon as it is final, so that a run can be killed at any time. A picture
that the service rejects is final. Any other failure is tried again, and is written at the end.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kosmos2_client.batch.jobs import Job, Jobs
from kosmos2_client.batch.pacing import Pacing
from kosmos2_client.batch.request import Answerer, BatchRequest, answer_picture
from kosmos2_client.errors import (
    ConnectionFailed,
    Kosmos2ClientError,
    Overloaded,
    RateLimited,
    ServiceProblem,
)
from kosmos2_client.retries import is_transient, retry_after_of
from kosmos2_client.run_file import Line, LineError

_FATAL_STATUSES = frozenset({401, 403, 404, 405})
"""They concern the key or the URL, so every other picture would get the same."""

_PICTURE_FIELDS = ("image", "regions")
"""Fields of a request whose mistakes depend on the picture: regions may be outside it."""

_TOO_MANY_ROWS = "too_many_rows"
"""Code of the service for tiles that are too small for a large picture."""


class RunStopped(Kosmos2ClientError):
    """The run cannot continue; the same command resumes it."""


class RequestRefused(RunStopped):
    """The service refuses the options of the run, so the command has to change."""


@dataclass(frozen=True)
class Limits:
    """How long a run tries.

    Attributes:
        max_failures: tries of a picture that may fail, before its error is final.
        patience_s: time without any answer of the service, after which the run stops.
        first_wait_s: wait before the second try of a picture; it doubles with each failure.
        longest_wait_s: upper limit of the doubling.
    """

    max_failures: int = 6
    patience_s: float = 600.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0


@dataclass(frozen=True)
class Try:
    """The outcome of one try.

    Attributes:
        sent_at: on the clock of the run.
        outcome: an answer, an error of the service, or an error while reading the file.
    """

    job: Job
    sent_at: float
    outcome: Mapping[str, Any] | Kosmos2ClientError | OSError


class Runner:
    """Runs pictures until all of them have an outcome.

    Args:
        read: returns the file of the picture with a name; raises `OSError`.
        write: receives each final outcome once.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        answerer: Answerer,
        request: BatchRequest,
        read: Callable[[str], Awaitable[bytes]],
        write: Callable[[Line], None],
        pacing: Pacing,
        clock: Callable[[], float],
        limits: Limits | None = None,
    ) -> None:
        self._answerer, self._request, self._read = answerer, request, read
        self._write, self._pacing, self._clock = write, pacing, clock
        self._limits = limits or Limits()
        self._num_answers = 0
        self._answered_at = clock()
        self._given_up: list[tuple[str, LineError]] = []

    async def run(self, names: Iterator[str]) -> None:
        """Run pictures; cancelling loses only those in work, which have no line yet.

        Raises:
            RunStopped: the service rejects the key, or has not answered for too long.
            RequestRefused: the service refuses the options of the run.
            OSError: an outcome cannot be written, for example because the disk is full.
        """
        jobs, running = Jobs(names), list[asyncio.Task[Try]]()
        self._answered_at = self._clock()
        try:
            while True:
                self._start(jobs, running)
                if not running and jobs.is_exhausted and jobs.next_due() is None:
                    break
                for one in await self._wait(jobs, running):
                    self._finish(one, jobs)
                if self._patience_left_s() <= 0:
                    self._lose_patience(jobs)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for name, error in self._given_up:
            self._write(Line(name, error=error))

    def _start(self, jobs: Jobs, running: list[asyncio.Task[Try]]) -> None:
        while len(running) < self._pacing.limit and self._pacing.pause_s <= 0:
            job = jobs.take(self._clock())
            if job is None:
                return
            running.append(asyncio.create_task(self._try(job)))

    async def _wait(self, jobs: Jobs, running: list[asyncio.Task[Try]]) -> list[Try]:
        """Return the tries that ended; none if it is time to start others."""
        waits = [] if self._pacing.pause_s <= 0 else [self._pacing.pause_s]
        if (due := jobs.next_due()) is not None and len(running) < self._pacing.limit:
            waits.append(max(due - self._clock(), self._pacing.pause_s))
        timeout_s = min(waits, default=None)
        if not running:
            # `Retry-After` may be longer.
            await asyncio.sleep(min(timeout_s or 0.0, self._patience_left_s()))
            return []
        done, _ = await asyncio.wait(
            running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        # In the order of their starts: that of a set differs from run to run.
        ended = [task for task in running if task in done]
        running[:] = [task for task in running if task not in done]
        return [task.result() for task in ended]

    async def _try(self, job: Job) -> Try:
        sent_at = self._clock()
        try:
            image = await self._read(job.name)
            sent_at = self._clock()
            answer = await answer_picture(self._answerer, self._request, image)
        except (Kosmos2ClientError, OSError) as error:
            return Try(job, sent_at, error)
        return Try(job, sent_at, answer)

    def _finish(self, one: Try, jobs: Jobs) -> None:
        """Write the outcome of a try, or keep its picture for another one."""
        outcome = one.outcome
        if isinstance(outcome, OSError):
            reason = outcome.strerror or str(outcome)
            self._write(Line(one.job.name, error=LineError("unreadable_file", reason, None)))
        elif not isinstance(outcome, Kosmos2ClientError):
            self._count_answer()
            self._write(Line.of_answer(one.job.name, outcome))
        elif is_transient(outcome):
            self._try_again(one, outcome, jobs)
        elif concerns_every_picture(outcome):
            raise RequestRefused(f"{outcome}; nothing was written for {one.job.name}")
        elif isinstance(outcome, ServiceProblem) and outcome.status not in _FATAL_STATUSES:
            self._count_answer()
            self._write(Line(one.job.name, error=line_error_of(outcome)))
        else:
            raise RunStopped(f"{outcome}; nothing was written for {one.job.name}")

    def _count_answer(self) -> None:
        self._num_answers += 1
        self._answered_at = self._clock()
        self._pacing.answered()

    def _try_again(self, one: Try, error: Kosmos2ClientError, jobs: Jobs) -> None:
        job, now = one.job, self._clock()
        if isinstance(error, Overloaded | RateLimited):  # never the fault of a picture
            required_s = retry_after_of(error)
            self._pacing.rejected(one.sent_at, required_s)
            wait_s = self._limits.first_wait_s if required_s is None else required_s
            jobs.delay(job, now + wait_s, line_error_of(error))
            return
        num_failures = job.num_failures + self._is_fault_of(job, error)
        if isinstance(error, ConnectionFailed):
            self._pacing.lost(one.sent_at)
        if num_failures >= self._limits.max_failures:
            self._given_up.append((job.name, line_error_of(error)))
            return
        doublings = 2.0 ** max(0, num_failures - 1)
        wait_s = min(self._limits.longest_wait_s, self._limits.first_wait_s * doublings)
        again = Job(job.name, num_failures, self._num_answers)
        jobs.delay(again, now + wait_s, line_error_of(error))

    def _is_fault_of(self, job: Job, error: Kosmos2ClientError) -> bool:
        """Return whether a failure counts: it does not while the service answers nothing at all."""
        is_outage = isinstance(error, ConnectionFailed) and self._num_answers == job.num_answers
        return not is_outage or job.num_failures == 0

    def _patience_left_s(self) -> float:
        return self._answered_at + self._limits.patience_s - self._clock()

    def _lose_patience(self, jobs: Jobs) -> None:
        """Give up the pictures that wait for another try, or stop if others were never tried.

        Raises:
            RunStopped: some pictures were never tried.
        """
        if not jobs.is_exhausted:
            message = f"the service has answered nothing for {self._limits.patience_s:.0f} s"
            raise RunStopped(f"{message}; the same command resumes the run")
        self._given_up += jobs.take_failed()


def concerns_every_picture(error: Kosmos2ClientError) -> bool:
    """Return whether a rejection names only fields that are the same for every picture."""
    if not isinstance(error, ServiceProblem) or error.status not in (400, 422):
        return False
    mistakes = error.problem.get("errors")
    if error.code == _TOO_MANY_ROWS or not isinstance(mistakes, list) or not mistakes:
        return False
    return not any(_depends_on_picture(mistake) for mistake in mistakes)


def _depends_on_picture(mistake: object) -> bool:
    if not isinstance(mistake, Mapping):
        return True
    return str(mistake.get("field")).startswith(_PICTURE_FIELDS)


def line_error_of(error: Kosmos2ClientError) -> LineError:
    """Return an error as it is written in a run file."""
    if isinstance(error, ServiceProblem):
        return LineError(error.code, error.detail, error.status)
    return LineError("connection_failed", str(error), None)
