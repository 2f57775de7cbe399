"""Turns recorded answers into prompts for the engine, and tokens into answers to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.checkpoint.files import Checkpoint
from app.contract.request_models import GroundBody
from app.contract.validation import validate
from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import ImageFacts
from app.grounding.prompts import encode_request
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import NewToken
from app.pictures.decode import decode_picture
from app.settings import Settings
from app.verify.checks import GivenAnswer
from app.verify.jobs import Job, Output, Prompt
from app.verify.recording import Entity, RecordedAnswer


@dataclass(frozen=True)
class Material:
    """The requests to a checkpoint: recorded answers, their prompts, and the picture.

    Attributes:
        pictures: 224×224×3 bytes, without and with the JPEG round trip.
    """

    checkpoint: Checkpoint
    tokenizer: Kosmos2Tokenizer
    answers: tuple[RecordedAnswer, ...]
    prompts: tuple[Prompt, ...]
    pictures: tuple[bytes, bytes]
    image: ImageFacts

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, answers: Sequence[RecordedAnswer], picture: Path
    ) -> "Material":
        """Decode the picture and encode the prompts.

        Raises:
            RequestError: the picture or a recorded request is invalid.
        """
        file, limit = picture.read_bytes(), Settings().max_image_pixels
        plain = decode_picture(file, max_pixels=limit)
        through_jpeg = decode_picture(file, max_pixels=limit, jpeg_round_trip=True)
        image = ImageFacts(plain.width, plain.height, plain.exif_orientation)
        tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
        prompts = tuple(_prompt(checkpoint, tokenizer, answer, image) for answer in answers)
        pictures = (plain.pixels, through_jpeg.pixels)
        return cls(checkpoint, tokenizer, tuple(answers), prompts, pictures, image)

    def job(self, device: str, dtype: str) -> Job:
        """Return the prompts as a job for one device and dtype."""
        return Job(self.checkpoint.directory, device, dtype, self.pictures, self.prompts)

    def given(self, key: int, output: Output) -> GivenAnswer:
        """Return an output as an answer, read by the code that reads the engine's tokens."""
        reader = AnswerReader(self.tokenizer, list(self.prompts[key].token_ids), self.image)
        for number, token_id in enumerate(output.new_token_ids):
            is_last = number == len(output.new_token_ids) - 1
            reader.read(NewToken(0, token_id, 0.0, "stop" if is_last else None, 0.0, 0))
        grounded = reader.grounded()
        entities: tuple[Entity, ...] = tuple(
            (entity.phrase, entity.span, tuple(tuple(b.xyxy_normalized) for b in entity.boxes))
            for entity in grounded.entities
        )
        ids, logits, tie = output.new_token_ids, output.logits, output.tie
        return GivenAnswer(grounded.text, entities, grounded.markup, ids, logits, tie)


def _prompt(
    checkpoint: Checkpoint, tokenizer: Kosmos2Tokenizer, answer: RecordedAnswer, image: ImageFacts
) -> Prompt:
    request = validate(GroundBody, dict(answer.fields), strict=True).to_request(b"")
    ban = request.no_repeat_ngram_size
    return Prompt(
        token_ids=encode_request(tokenizer, request, image),
        picture=int(answer.jpeg_round_trip),
        ngram_size=checkpoint.no_repeat_ngram_size if ban is None else ban,
        expected_ids=answer.new_token_ids,
        logits=[(step, token_id) for step, token_id, _ in answer.logits],
    )
