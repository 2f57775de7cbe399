"""The measurements at full size, for this service's engine and for its peers."""

from dataclasses import dataclass

from benchmarks.peers.generation import PROMPTS

BATCHES = (1, 8)
CAPTION_TOKENS = 32
CLASSES = (10, 20)
TOKENS_OF_A_BOX = 5
"""`<object>`, two cells, `</object>` and the end; random weights would write others, for longer."""


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
        first_token_s: from picture files to the first tokens of all rows, by number of rows.
        caption_s: from picture files to the last of 32 tokens of all rows, by number of rows.
        phrase_s: the box of one phrase in a new picture.
        detection_s: the boxes of classes in a new picture, by number of classes.
        later_task_share: time to the first token of a picture's later tasks, relative to its first.
        held_bytes: weights, keys and values; 0 if unknown.
        peak_bytes: peak resident memory, minus the memory before loading.
    """

    load_s: float
    first_token_s: dict[str, float]
    caption_s: dict[str, float]
    phrase_s: float
    detection_s: dict[str, float]
    later_task_share: float
    held_bytes: int
    peak_bytes: int
