"""Draws a checkpoint's answers for inspection: `python -m training.gallery`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from app.pictures.drawing.draw import draw_marks
from app.pictures.drawing.fonts import load_fonts
from app.pictures.marks import Mark, scale_box
from training.answering import Answer, Answerer
from training.command_line import check_output, errors_in_one_line, positive
from training.measured_scenes import measured_scene

WIDTH = 360
GAP = 12
PROMPT = "<grounding> An image of"


def drawn(picture: Image.Image, answer: Answer) -> Image.Image:
    """Return the enlarged picture with the answer's phrases, boxes and scores."""
    height = round(picture.height * WIDTH / picture.width)
    large = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    scores = iter(answer.scores)
    marks = [
        Mark(
            entity.phrase,
            tuple(scale_box(box.box, WIDTH, height) for box in entity.boxes),
            tuple(next(scores, None) for _ in entity.boxes),
        )
        for entity in answer.parsed.entities
    ]
    return draw_marks(large, marks, load_fonts())


def sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Return the pictures in rows and columns on white."""
    rows = [pictures[start : start + columns] for start in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture in row) + GAP for row in rows]
    page = Image.new("RGB", (columns * (WIDTH + GAP) + GAP, sum(heights) + GAP), "white")
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            page.paste(picture, (GAP + column * (WIDTH + GAP), top))
        top += height
    return page


def main() -> None:
    """Caption held-out scenes and draw the answers on one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("app/demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--scenes", type=positive, default=12)
    with errors_in_one_line():
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Caption the scenes and write the page."""
    page = options.out / "held-out-captions.png"
    check_output(page)
    answerer = Answerer(options.checkpoint)
    pictures = [measured_scene("held out", index).picture for index in range(options.scenes)]
    prompts = [(number, PROMPT) for number in range(len(pictures))]
    answers = answerer.answer(answerer.see(pictures), prompts)
    pages = [drawn(*pair) for pair in zip(pictures, answers, strict=True)]
    sheet(pages, columns=4).save(page, optimize=True)


if __name__ == "__main__":
    main()
