"""An answer made by hand, for tests of its representations."""

from app.grounding.answers import (
    Answer,
    AnswerBox,
    Entity,
    GroundedText,
    ImageFacts,
    Timings,
    Usage,
)


def sample_answer(box: AnswerBox, seconds: float = 0.0, *, is_calibrated: bool = False) -> Answer:
    """Return an answer about one dog in a picture of 64×48 pixels.

    Args:
        box: of the dog.
        seconds: value of every duration.
    """
    entity = Entity("a dog", (0, 5), False, (box,))
    return Answer(
        id="1",
        model="m",
        task="raw",
        grounded=GroundedText("a dog", "a dog", 0, 0, (entity,), "<phrase> a dog</phrase>", "stop"),
        image=ImageFacts(64, 48, 1),
        is_calibrated=is_calibrated,
        notice=None,
        seed=None,
        usage=Usage(70, 3, 0),
        timings=Timings(seconds, seconds, seconds, seconds),
    )
