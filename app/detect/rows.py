"""Runs the rows of a detection: the question whether a class is present, then the boxes.

A row is one class in one view: the whole picture or a tile. Its first prompt costs one token. The
second prompt follows only if the presence reaches the threshold, because no box can have a higher
confidence than that.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from app.checkpoint.calibration import Calibration
from app.detect.prompts import ClassPrompts
from app.grounding.answers import Usage
from app.grounding.boxes import sort_corners
from app.grounding.class_prompts import presence_token_ids
from app.grounding.localization import CellDistribution, Localization, localize
from app.grounding.markup import END_OF_OBJECT
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_client import EngineClient
from app.ipc.engine_messages import NewToken, SamplingParameters
from app.ipc.pending_request import Prompt

MAX_TOKENS = 128
"""Of an object list, which has three tokens per box: up to 42 boxes of a class per view."""


@dataclass(frozen=True)
class RowResult:
    """What the model answered about one class in one view.

    Attributes:
        presence: probability that the class is there, 0…1.
        boxes: with boxes normalised to the view; empty if presence is below the threshold.
        usage: tokens of both prompts and their answers.
    """

    presence: float
    boxes: tuple[Localization, ...]
    usage: Usage


@dataclass
class _Counter:
    """Adds up the tokens of a row."""

    usage: Usage = field(default_factory=lambda: Usage(0, 0, 0))

    def count(self, prompt: Prompt, new_tokens: Sequence[NewToken]) -> None:
        cached = new_tokens[0].cached_tokens
        self.usage = self.usage + Usage(len(prompt.token_ids), len(new_tokens), cached)


class RowRunner:
    """Runs single rows on the engine; several may run in parallel.

    Args:
        tokenizer: must belong to the checkpoint of the engine.
        no_repeat_ngram_size: of the checkpoint; 0 disables the ban.

    Raises:
        CheckpointError: the calibration's answers are not tokens of the checkpoint.
    """

    def __init__(
        self,
        engine: EngineClient,
        tokenizer: Kosmos2Tokenizer,
        calibration: Calibration,
        no_repeat_ngram_size: int,
    ) -> None:
        self._engine, self._tokenizer, self._calibration = engine, tokenizer, calibration
        answers = presence_token_ids(tokenizer, calibration)
        self._asking = SamplingParameters(max_new_tokens=1, named_token_ids=list(answers))
        self._locating = SamplingParameters(
            max_new_tokens=MAX_TOKENS,
            no_repeat_ngram_size=no_repeat_ngram_size,
            stop_token_ids=[tokenizer.tag_ids[END_OF_OBJECT]],
        )

    async def run(
        self,
        prompts: ClassPrompts,
        view: Prompt,
        threshold: float,
        deadline: float,
    ) -> RowResult:
        """Return what the model answers about a class in a view.

        Args:
            view: a prompt with the picture, whose token ids are replaced.
            threshold: least confidence of a box that is wanted, 0…1.
            deadline: seconds on the monotonic clock.

        Raises:
            ServiceError: the engine cannot answer now.
        """
        counter = _Counter()
        question = replace(view, token_ids=prompts.presence)
        [first] = await self._generate(question, self._asking, deadline)
        counter.count(question, [first])
        presence = self._calibration.presence(*first.named_log_probabilities)
        # The confidence of a box is at most the presence.
        if presence < threshold:
            return RowResult(presence, (), counter.usage)
        phrase = replace(view, token_ids=prompts.phrase)
        new_tokens = await self._generate(phrase, self._locating, deadline)
        counter.count(phrase, new_tokens)
        return RowResult(presence, tuple(self._boxes(new_tokens)), counter.usage)

    async def _generate(
        self, prompt: Prompt, sampling: SamplingParameters, deadline: float
    ) -> list[NewToken]:
        async with aclosing(self._engine.generate(prompt, sampling, deadline)) as generated:
            return [new_token async for new_token in generated]

    def _boxes(self, new_tokens: Sequence[NewToken]) -> Iterator[Localization]:
        """Yield the boxes of an object list, which the limit of tokens may have cut."""
        cells = self._tokenizer.patch_ids
        previous: NewToken | None = None
        for token in new_tokens:
            if token.token_id not in cells:
                previous = None
            elif previous is None:
                previous = token
            else:
                yield self._localize(previous, token)
                previous = None

    def _localize(self, first: NewToken, second: NewToken) -> Localization:
        cells = self._tokenizer.patch_ids
        pair = sort_corners((cells[first.token_id], cells[second.token_id]))
        return localize(pair, _distribution(first), _distribution(second), self._calibration)


def _distribution(token: NewToken) -> CellDistribution:
    """Return the distribution that the engine sends with each location token."""
    if token.location is None:
        raise RuntimeError("a location token has no distribution")
    return CellDistribution.from_message(token.location)
