"""Measures the tasks of a checkpoint on held-out scenes: `python -m training.evaluate`."""

import argparse
import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.grounding.markup import parse
from app.pictures.marks import Box
from training.answering import Answer, Answerer
from training.command_line import check_output, device, errors_in_one_line, positive
from training.grammar import (
    Example,
    brief_caption,
    detailed_caption,
    phrase_of_kind,
    referring_expression,
    region_description,
)
from training.measured_scenes import measured_scene
from training.metrics import (
    Counts,
    iou,
    iou_of_perfect_tokens,
    mean,
    num_matches,
    roc_auc,
)
from training.plots import PLOTS, draw_plots
from training.questions import ask_about
from training.world import COLOURS, PLURALS, SHAPES, Scene

QUESTION_KINDS = ("colour", "shape", "count", "existence", "relation")


@dataclass(frozen=True)
class Asked:
    """One example about one picture, and the model's answer."""

    example: Example
    answer: Answer


@dataclass(frozen=True)
class Row:
    """A line of the table. `value` and `goal` are fractions of 1."""

    task: str
    measure: str
    value: float
    goal: float | None
    num_answers: int

    @property
    def is_met(self) -> bool:
        """Whether the value reaches its goal; true without a goal."""
        return self.goal is None or self.value >= self.goal


@dataclass(frozen=True)
class ScoredBox:
    """A box's score, and whether the box is right (IoU of at least 0.5 with its object)."""

    score: float
    is_right: bool


@dataclass(frozen=True)
class Evaluation:
    """The table, and the scored boxes that the score's row is computed from."""

    rows: tuple[Row, ...]
    boxes: tuple[ScoredBox, ...]

    def as_text(self) -> str:
        """Return a Markdown table."""
        lines = [
            "| task | measure | value | goal | answers |",
            "|---|---|---|---|---|",
        ]
        for row in self.rows:
            goal = "" if row.goal is None else f"{row.goal:.2f}{'' if row.is_met else ' missed'}"
            lines.append(
                f"| {row.task} | {row.measure} | {row.value:.3f} | {goal} | {row.num_answers} |"
            )
        return "\n".join(lines)


def examples_for(index: int, scene: Scene, rng: random.Random) -> list[Example]:
    """Return one example of each measured task, if the scene allows it."""
    objects = scene.objects
    examples = [
        brief_caption(objects, rng),
        detailed_caption(objects, rng),
        region_description(objects, rng),
        phrase_of_kind(objects, rng, "phrase_grounding"),
        phrase_of_kind(objects, rng, "several_objects"),
        referring_expression(objects, rng),
        ask_about(QUESTION_KINDS[index % len(QUESTION_KINDS)], objects, rng),
    ]
    return [example for example in examples if example]


def ask_all(answerer: Answerer, num_scenes: int) -> list[Asked]:
    """Draw the scenes and answer all measured examples."""
    pictures, prompts, examples = [], [], []
    for index in range(num_scenes):
        measured = measured_scene("held out", index)
        pictures.append(measured.picture)
        for example in examples_for(index, measured.scene, measured.rng):
            prompts.append((index, example.prompt))
            examples.append(example)
    answers = answerer.answer(answerer.see(pictures), prompts)
    return [Asked(*pair) for pair in zip(examples, answers, strict=True)]


def evaluate(asked: Sequence[Asked]) -> Evaluation:
    """Return the table of results."""

    def of(kind: str) -> list[Asked]:
        return [one for one in asked if one.example.kind == kind]

    phrases, several = of("phrase_grounding"), of("several_objects")
    expressions, regions = of("referring_expression"), of("region_description")
    boxes = scored_boxes([*phrases, *expressions, *of("brief_caption")])
    rows = [
        *_phrase_rows(phrases),
        Row("phrase for several objects", "F1 at IoU 0.5", _boxes_f1(several), 0.90, len(several)),
        _share("referring expression", "accuracy at IoU 0.5", expressions, _is_located, 0.90),
        _share("generation from a box", "colour and shape right", regions, _names_region, 0.95),
        *_question_rows(asked),
        *(
            Row(f"{name} caption", "F1 of grounded objects", _caption_f1(some), 0.90, len(some))
            for name, some in (("brief", of("brief_caption")), ("detailed", of("detailed_caption")))
        ),
        Row(
            "box score",
            "area under the ROC curve",
            roc_auc([box.score for box in boxes], [box.is_right for box in boxes]),
            None,
            len(boxes),
        ),
    ]
    return Evaluation(tuple(rows), tuple(boxes))


def _phrase_rows(phrases: Sequence[Asked]) -> list[Row]:
    """Return the rows of phrase grounding, with the result of perfect tokens."""
    got = mean([_first_iou(one) for one in phrases])
    perfect = mean([iou_of_perfect_tokens(one.example.targets[0].xyxy) for one in phrases])
    task, number = "phrase grounding", len(phrases)
    return [
        Row(task, "mean IoU", got, None, number),
        Row(task, "mean IoU of perfect tokens", perfect, None, number),
        Row(task, "mean IoU over that of perfect tokens", got / perfect, 0.90, number),
        _share(task, "accuracy at IoU 0.5", phrases, _is_located, 0.95),
    ]


def _question_rows(asked: Sequence[Asked]) -> list[Row]:
    """Return one row for all questions together, then one for each kind."""
    kinds = {f"vqa_{kind}": kind for kind in QUESTION_KINDS}
    questions = [one for one in asked if one.example.kind in kinds]
    rows = [_share("VQA", "exact answer", questions, _is_exact, 0.90)]
    for kind, name in kinds.items():
        some = [one for one in questions if one.example.kind == kind]
        rows.append(_share(f"VQA, {name}", "exact answer", some, _is_exact, None))
    return rows


def _share(
    task: str,
    measure: str,
    asked: Sequence[Asked],
    is_right: Callable[[Asked], bool],
    goal: float | None,
) -> Row:
    return Row(task, measure, mean([float(is_right(one)) for one in asked]), goal, len(asked))


def generated_boxes(asked: Asked) -> list[Box]:
    """Return the boxes of the answer, without those of the prompt."""
    boxes = [b.box for entity in asked.answer.parsed.entities for b in entity.boxes]
    num_generated = len(asked.answer.scores)
    # The boxes of the prompt precede those of the answer.
    return boxes[len(boxes) - num_generated :] if num_generated else []


def _first_iou(asked: Asked) -> float:
    boxes = generated_boxes(asked)
    return iou(boxes[0], asked.example.targets[0].xyxy) if boxes else 0.0


def _is_located(asked: Asked) -> bool:
    return _first_iou(asked) >= 0.5


def _boxes_f1(asked: Sequence[Asked]) -> float:
    counts = Counts()
    for one in asked:
        found = generated_boxes(one)
        wanted = [thing.xyxy for thing in one.example.targets]
        counts.add(num_matches(found, wanted), len(found), len(wanted))
    return counts.f1


def _names_region(asked: Asked) -> bool:
    """Return whether the first colour and shape in the answer are those of the region."""
    return kind_named(asked.answer.text) == asked.example.targets[0].kind


def kind_named(text: str) -> tuple[str | None, str | None]:
    """Return the first colour and the first shape in a text; plural shapes count.

    >>> kind_named("two small red circles")
    ('red', 'circle')
    """
    singular = {plural: shape for shape, plural in PLURALS.items()} | {s: s for s in SHAPES}
    words = [word.strip(".,?") for word in text.lower().split()]
    colour = next((word for word in words if word in COLOURS), None)
    shape = next((singular[word] for word in words if word in singular), None)
    return colour, shape


def _is_exact(asked: Asked) -> bool:
    return asked.answer.text == parse(asked.example.answer).text


def _caption_f1(asked: Sequence[Asked]) -> float:
    """Return F1 of objects that have a right box under their own colour and shape."""
    counts = Counts()
    for one in asked:
        found: dict[tuple[str | None, str | None], list[Box]] = {}
        for entity in one.answer.parsed.entities:
            boxes = [box.box for box in entity.boxes]
            found.setdefault(kind_named(entity.phrase or ""), []).extend(boxes)
        wanted: dict[tuple[str | None, str | None], list[Box]] = {}
        for thing in one.example.targets:
            wanted.setdefault(thing.kind, []).append(thing.xyxy)
        right = sum(num_matches(boxes, wanted.get(kind, [])) for kind, boxes in found.items())
        counts.add(right, sum(map(len, found.values())), len(one.example.targets))
    return counts.f1


def scored_boxes(asked: Sequence[Asked]) -> list[ScoredBox]:
    """Return every generated box with its score and whether it matches an object."""
    scored = []
    for one in asked:
        wanted = [thing.xyxy for thing in one.example.targets]
        for box, score in zip(generated_boxes(one), one.answer.scores, strict=False):
            right = any(iou(box, other) >= 0.5 for other in wanted)
            scored.append(ScoredBox(score, right))
    return scored


def main() -> None:
    """Evaluate as the command line requests and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("app/demo"))
    parser.add_argument("--scenes", type=positive, default=1000)
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--json", type=Path, help="file for the table and the scored boxes")
    parser.add_argument("--plots", type=Path, help="folder for the ROC and reliability curves")
    with errors_in_one_line():
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Evaluate, print the table, and write the files."""
    plots = [options.plots / name for name in PLOTS] if options.plots else []
    for file in [options.json, *plots] if options.json else plots:
        check_output(file)
    evaluation = evaluate(ask_all(Answerer(options.checkpoint, options.device), options.scenes))
    print(evaluation.as_text())
    if options.json:
        options.json.write_text(json.dumps(dataclasses.asdict(evaluation), indent=1) + "\n")
    if options.plots:
        scores = [box.score for box in evaluation.boxes]
        draw_plots(scores, [box.is_right for box in evaluation.boxes], options.plots)


if __name__ == "__main__":
    main()
