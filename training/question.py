"""A question about a scene, with its right answer."""

from dataclasses import dataclass

from training.world import SceneObject


@dataclass(frozen=True)
class Question:
    """A question, its answer with tags, and the objects of both.

    Attributes:
        text: with correct spelling and punctuation.
        answer: starts with a space.
        targets: the objects that the answer is about.
        pointed_at: a phrase of the question and the object whose box is sent with it.
        landmark: the object that the target is compared with.
    """

    text: str
    answer: str
    targets: tuple[SceneObject, ...]
    pointed_at: tuple[str, SceneObject] | None = None
    landmark: SceneObject | None = None
