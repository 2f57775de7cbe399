"""What is measured at full size, of this service's engine and of `transformers` alike."""

from dataclasses import dataclass

from benchmarks.peers.generation import PROMPTS

BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class PictureTask:
    """A task on a picture.
    """

    task: str
    text: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """As in a form."""
        return {"task": self.task} | ({} if self.text is None else {"text": self.text})

    @property
    def prompt(self) -> str:
        """As the model reads it."""
        return PROMPTS[self.task].format(text=self.text)


TASKS = (
    PictureTask("brief_caption"),
    PictureTask("detailed_caption"),
    PictureTask("phrase_grounding", "a red circle"),
    PictureTask("phrase_grounding", "a blue square"),
    PictureTask("referring_expression_comprehension", "a red circle left of a blue square"),
    PictureTask("grounded_vqa", "What is special about this image?"),
    PictureTask("grounded_vqa", "How many circles are there?"),
)


@dataclass(frozen=True)
class FullSizeTimes:
    """Of one process; seconds and bytes.

    Attributes:
        load_s: until it could answer, warm-up included.
        step_s: one more token for every row, by number of rows.
        first_token_s: from the prompts of all rows to their first tokens, by number of rows.
        later_task_share: the time to the first token of a picture's later tasks, over its first.
        held_bytes: weights, keys and values; 0: not known.
        peak_bytes: the most that was resident, less what was before loading.
    """

    load_s: float
    step_s: dict[str, float]
    first_token_s: dict[str, float]
    later_task_share: float
    held_bytes: int
    peak_bytes: int
