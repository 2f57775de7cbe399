"""The measurements at full size, for both this service's engine and `transformers`."""

from dataclasses import dataclass

from benchmarks.peers.generation import PROMPTS

BATCHES = (1, 4, 8)


@dataclass(frozen=True)
class PictureTask:
    """A task on a picture."""

    task: str
    text: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the task in a form."""
        return {"task": self.task} | ({} if self.text is None else {"text": self.text})

    @property
    def prompt(self) -> str:
        """The prompt that the model reads."""
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
    """The results of one process, in seconds and bytes.

    Attributes:
        load_s: until it could answer, including the warm-up.
        step_s: one more token for every row, by number of rows.
        first_token_s: from the prompts of all rows to their first tokens, by number of rows.
        phrase_s: the boxes of one phrase on a new picture; 0 if unknown.
        ten_classes_s: presence of ten classes on a new picture and the boxes of three of them; 0 if
            unknown.
        later_task_share: time to the first token of a picture's later tasks, relative to its first.
        held_bytes: weights, keys and values; 0 if unknown.
        peak_bytes: peak resident memory, minus the memory before loading.
    """

    load_s: float
    step_s: dict[str, float]
    first_token_s: dict[str, float]
    later_task_share: float
    held_bytes: int
    peak_bytes: int
    phrase_s: float = 0.0
    ten_classes_s: float = 0.0
