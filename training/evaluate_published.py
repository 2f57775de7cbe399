"""Measures a checkpoint on Flickr30k Entities or RefCOCO, with the paper's protocol.

    python -m training.evaluate_published flickr30k --checkpoint DIR --root DIR --images DIR \
        --split test.txt
    python -m training.evaluate_published refcoco --checkpoint DIR --annotations FILE --images DIR

Answers are greedy and never repeat a 3-gram, as in the paper. The data are not part of the project.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from app.pictures.marks import Box
from training.answering import Answer, Answerer
from training.flickr30k import Query, read_flickr30k
from training.metrics import iou, mean
from training.refcoco import Expression, read_refcoco

NGRAM_SIZE = 3
RECALLS = (1, 5, 10)
# Bounds the memory for decoded pictures.
PICTURES_AT_ONCE = 64

Request = TypeVar("Request", Query, Expression)


def boxes_of_phrase(answer: Answer, phrase: str) -> list[Box]:
    """Return the boxes of the entities whose phrase equals `phrase`, in order."""
    return [
        box.box
        for entity in answer.parsed.entities
        if (entity.phrase or "").strip() == phrase.strip()
        for box in entity.boxes
    ]


def recall_at(k: int, found: Sequence[Sequence[Box]], wanted: Sequence[Sequence[Box]]) -> float:
    """Return the share of phrases for which one of the first `k` boxes is right (IoU 0.5)."""
    return mean(
        [
            float(any(iou(box, right) >= 0.5 for box in boxes[:k] for right in rights))
            for boxes, rights in zip(found, wanted, strict=True)
        ]
    )


def answers_to(answerer: Answerer, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer]]:
    """Yield the answers, grouped by picture, so that each picture is encoded once."""
    by_picture: dict[Path, list[Request]] = {}
    for one in requests:
        by_picture.setdefault(one.picture, []).append(one)
    paths = list(by_picture)
    for start in range(0, len(paths), PICTURES_AT_ONCE):
        some = paths[start : start + PICTURES_AT_ONCE]
        embeddings = answerer.see([_opened(path) for path in some])
        group = [(number, one) for number, path in enumerate(some) for one in by_picture[path]]
        prompts = [(number, one.prompt) for number, one in group]
        answers = answerer.answer(embeddings, prompts, no_repeat_ngram_size=NGRAM_SIZE)
        yield from zip([one for _, one in group], answers, strict=True)


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def evaluate_flickr30k(answerer: Answerer, queries: Sequence[Query]) -> dict[str, float]:
    """Return R@1, R@5 and R@10 over all phrases."""
    found, wanted = [], []
    for query, answer in answers_to(answerer, queries):
        found.append(boxes_of_phrase(answer, query.phrase))
        wanted.append(query.boxes)
    return {f"R@{k}": recall_at(k, found, wanted) for k in RECALLS}


def evaluate_refcoco(answerer: Answerer, expressions: Sequence[Expression]) -> dict[str, float]:
    """Return the share of expressions whose first box is right at IoU 0.5."""
    found, wanted = [], []
    for expression, answer in answers_to(answerer, expressions):
        found.append([box.box for entity in answer.parsed.entities for box in entity.boxes])
        wanted.append([expression.box])
    return {"accuracy at IoU 0.5": recall_at(1, found, wanted)}


def main() -> None:
    """Evaluate as the command line requests and print the results."""
    parser = argparse.ArgumentParser(description="Flickr30k Entities and RefCOCO")
    datasets = parser.add_subparsers(dest="dataset", required=True)
    flickr = datasets.add_parser("flickr30k")
    flickr.add_argument("--root", type=Path, required=True, help="has Sentences/ and Annotations/")
    flickr.add_argument("--split", type=Path, required=True, help="file with picture ids")
    refcoco = datasets.add_parser("refcoco")
    refcoco.add_argument("--annotations", type=Path, required=True, help="JSON file of a split")
    for dataset in (flickr, refcoco):
        dataset.add_argument("--images", type=Path, required=True)
        dataset.add_argument("--checkpoint", type=Path, required=True)
        dataset.add_argument("--device", default="cpu")
    options = parser.parse_args()
    answerer = Answerer(options.checkpoint, options.device)
    if options.dataset == "flickr30k":
        queries = read_flickr30k(options.root, options.images, options.split)
        figures = evaluate_flickr30k(answerer, queries)
    else:
        figures = evaluate_refcoco(answerer, read_refcoco(options.annotations, options.images))
    for name, value in figures.items():
        print(f"{name}: {value:.2%}")


if __name__ == "__main__":
    main()
