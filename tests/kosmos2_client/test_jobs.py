"""The order in which a run takes its pictures."""

from kosmos2_client.batch.jobs import Job, Jobs
from kosmos2_client.run_file import LineError

ERROR = LineError("overloaded", "full", 503)


def take(jobs: Jobs, now: float) -> str | None:
    """Return the name of the next job."""
    job = jobs.take(now)
    return None if job is None else job.name


def test_a_failed_job_is_next_when_it_is_due_and_not_before() -> None:
    jobs = Jobs(iter(["new", "newer"]))
    jobs.delay(Job("late"), 20.0, ERROR)
    jobs.delay(Job("early"), 10.0, ERROR)
    assert jobs.next_due() == 10.0
    taken = [take(jobs, now) for now in (9.0, 10.0, 19.0, 20.0, 21.0)]
    assert taken == ["new", "early", "newer", "late", None]
    assert jobs.is_exhausted
    assert jobs.next_due() is None


def test_jobs_that_are_due_together_are_taken_in_the_order_of_their_failures() -> None:
    jobs = Jobs(iter([]))
    for name in "ba":
        jobs.delay(Job(name), 5.0, ERROR)
    assert [take(jobs, 5.0), take(jobs, 5.0)] == ["b", "a"]
