"""Counts the engine's messages, steps and sequences in its metrics."""

from app.engine.phases import Clock
from app.engine.runner import Runner
from app.engine.scheduler import Scheduler
from app.engine.sequence import Sequence
from app.ipc.engine_messages import Generate, NewToken, ToEngine
from app.telemetry.metrics import EngineMetrics


class StepMetrics:
    """Counts what happens in the engine's loop.

    Args:
        runner: has finished its warm-up, which is not counted.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self, metrics: EngineMetrics, runner: Runner, scheduler: Scheduler, clock: Clock
    ) -> None:
        self._metrics, self._runner, self._scheduler = metrics, runner, scheduler
        self._clock, self._counts = clock, runner.counts

    def count_message(self, message: ToEngine, num_bytes: int) -> None:
        """Count a message, whose pixels have `num_bytes`."""
        self._metrics.picture_bytes_received_total.inc(num_bytes)
        if isinstance(message, Generate):
            self._metrics.requests_replayed_total.inc(message.is_replay)

    def count_tokens(self, num_tokens: int) -> None:
        """Count the tokens of a pass, and the sequences that remain."""
        self._metrics.generation_tokens_total.inc(num_tokens)
        self.count_sequences()

    def count_sequences(self) -> None:
        """Publish how many sequences run and wait, and how many slots they hold."""
        self._metrics.num_requests_running.set(len(self._scheduler.running))
        self._metrics.num_requests_waiting.set(len(self._scheduler.waiting))
        self._metrics.kv_slots_used.set(self._runner.slots.num_used)

    def count_step(
        self,
        starting: list[Sequence],
        decoded: list[tuple[bytes, NewToken]],
        finished: list[Sequence],
        began: float,
    ) -> None:
        """Count a step.

        Args:
            starting: sequences that were to be prefilled.
            decoded: tokens of the decode pass, each with its client.
            finished: sequences that ended.
            began: when the step began, in seconds.
        """
        now = self._clock()
        for sequence in starting:
            if sequence.first_token_at:
                self._count_start(sequence)
        for sequence in finished:
            self._metrics.request_decode_time_seconds.observe(now - sequence.first_token_at)
        if decoded:
            num_rows = len({(client, token.key) for client, token in decoded})
            self._metrics.engine_batch_size.observe(num_rows)
        self._metrics.engine_busy_seconds_total.inc(now - began)
        self._count_passes()

    def _count_start(self, sequence: Sequence) -> None:
        metrics = self._metrics
        metrics.prompt_tokens_total.inc(sequence.num_prompt_tokens)
        metrics.image_cache_queries_total.inc()
        metrics.image_cache_hits_total.inc(sequence.num_cached_tokens > 0)
        metrics.request_queue_time_seconds.observe(sequence.started_at - sequence.arrived_at)
        metrics.request_prefill_time_seconds.observe(sequence.first_token_at - sequence.started_at)

    def _count_passes(self) -> None:
        metrics, counts, before = self._metrics, self._runner.counts, self._counts
        metrics.pictures_encoded_total.inc(counts.encoded - before.encoded)
        metrics.drafts_total.inc(counts.drafted - before.drafted)
        metrics.drafts_accepted_total.inc(counts.accepted - before.accepted)
        metrics.device_memory_bytes.labels("picture_cache").set(self._runner.pictures.num_bytes)
        self._counts = counts
