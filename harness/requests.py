"""Random requests of every task about pictures of several kinds, fixed by a seed."""

import hashlib
import random

import numpy as np

from app.checkpoint.picture_size import PICTURE_SIDE
from app.grounding.tasks import TASKS, Region, Use, write_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.pending_request import Prompt
from harness.exactness import Request

COLORS = ("red", "blue", "green", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle")


def random_requests(
    tokenizer: Kosmos2Tokenizer,
    count: int,
    *,
    num_pictures: int = 8,
    ngram_sizes: tuple[int, ...] = (0, 3),
    max_new_tokens: tuple[int, int] = (1, 64),
    pictures: list[bytes] | None = None,
    seed: int = 0,
) -> list[Request]:
    """Return `count` requests of all tasks; prompt lengths differ, pictures are shared."""
    rng = random.Random(seed)
    shown = pictures or [random_picture(rng) for _ in range(num_pictures)]
    return [
        Request(
            prompt_of(tokenizer, random_prompt(rng, number), rng.choice(shown)),
            max_new_tokens=rng.randint(*max_new_tokens),
            ngram_size=rng.choice(ngram_sizes),
        )
        for number in range(count)
    ]


def prompt_of(tokenizer: Kosmos2Tokenizer, text: str, pixels: bytes) -> Prompt:
    """Return a prompt about a picture."""
    return Prompt(tokenizer.encode_prompt(text), pixels, hashlib.sha256(pixels).digest())


def random_picture(rng: random.Random) -> bytes:
    """Return 224×224×3 bytes with a few rectangles on noise."""
    noise = np.random.default_rng(rng.randrange(2**32))
    picture = noise.integers(90, 160, (PICTURE_SIDE, PICTURE_SIDE, 3), dtype=np.uint8)
    for _ in range(rng.randint(1, 6)):
        x, y = rng.randrange(180), rng.randrange(180)
        picture[y : y + rng.randint(20, 90), x : x + rng.randint(20, 90)] = noise.integers(
            256, size=3
        )
    return picture.tobytes()


def random_prompt(rng: random.Random, number: int) -> str:
    """Return a prompt of the `number`-th task, with or without grounding and regions."""
    task = list(TASKS.values())[number % len(TASKS)]
    phrase = f"a {rng.choice(COLORS)} {rng.choice(SHAPES)}"
    first = rng.randrange(500)
    # 263: the cell 8 rows lower and 7 columns further right on the grid of 32.
    region = Region("it" if task.text is Use.REQUIRED else None, ((first, first + 263),))
    text: str | None = None
    regions: list[Region] = [region] if task.regions is Use.REQUIRED else []
    if task.name == "grounded_vqa":
        words = " ".join([phrase] * rng.randint(1, 8))
        text, regions = f"What is {words} left of it?", [region][: rng.randint(0, 1)]
    elif task.name == "raw":
        text = f"<grounding> {phrase} and<phrase> a"
    elif task.text is Use.REQUIRED:
        text = " ".join([phrase, *rng.choices(["left of", phrase, "that is"], k=rng.randrange(6))])
    grounding = not (task.can_be_plain and rng.random() < 0.3)
    return write_prompt(task, text=text, regions=regions, grounding=grounding)
