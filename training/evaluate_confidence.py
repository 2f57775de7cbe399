"""Measures confidence and presence on held-out scenes: `python -m training.evaluate_confidence`.

Writes `confidence.json` and `confidence.md`, and draws the pictures of docs/confidence.md.
"""

import argparse
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from app.checkpoint.calibration import Calibration
from training.answering import Answerer
from training.command_line import check_output, device, errors_in_one_line, positive
from training.confidence_measures import (
    HARDER,
    Measure,
    RatedBox,
    confidence_measures,
    fit_measures,
    presence_measures,
    rate,
    rated_boxes,
)
from training.confidence_plots import draw_boxes, draw_reliability
from training.confidence_questions import (
    ClassProbe,
    ClassQuestion,
    Grounded,
    ask_for_boxes,
    chunks,
    contrasting_classes,
)
from training.harder_scenes import HARDER as HARDER_KINDS
from training.measured_scenes import CLEAN, measured_scene

HEADING = "| measure | value | goal | number |\n|---|---|---|---|"


@dataclass(frozen=True)
class Answers:
    """What a checkpoint answered on the held-out scenes.

    Attributes:
        grounded: answers with boxes, on clean and on harder scenes.
        questions: about classes of the clean scenes.
        log_odds: of yes and no to each question.
        forced: the boxes of each question's class.
    """

    grounded: list[Grounded]
    questions: list[ClassQuestion]
    log_odds: list[tuple[float, float]]
    forced: list[Grounded]


def ask_all(answerer: Answerer, num_scenes: int, num_harder: int) -> Answers:
    """Query a checkpoint about `num_scenes` clean scenes, and `num_harder` of each harder kind."""
    answers = Answers([], [], [], [])
    for numbers in chunks(num_scenes):
        answers.grounded.extend(ask_for_boxes(answerer, "held out", numbers))
        scenes = [measured_scene("held out", number) for number in numbers]
        probe = ClassProbe(answerer, numbers, scenes)
        questions = [
            question
            for number, scene in zip(numbers, scenes, strict=True)
            for question in contrasting_classes(number, scene)
        ]
        answers.questions.extend(questions)
        answers.log_odds.extend(probe.log_odds(questions, answerer.calibration))
        boxes = probe.boxes(questions, answerer.calibration)
        answers.forced.extend(
            Grounded(question.scene, CLEAN, "classes", some, question.targets)
            for question, some in zip(questions, boxes, strict=True)
        )
    for kind in HARDER_KINDS:
        answers.grounded.extend(ask_for_boxes(answerer, "held out", range(num_harder), kind))
    return answers


def evaluate(answers: Answers, calibration: Calibration) -> list[Measure]:
    """Return all measures."""
    nothing = RatedBox(0.0, 0.0, 0.0)
    forced = [
        rate(one, one.boxes[0], calibration) if one.boxes else nothing for one in answers.forced
    ]
    presences = [calibration.presence(*log_odds) for log_odds in answers.log_odds]
    return [
        *fit_measures(answers.grounded, calibration),
        *confidence_measures(rated_boxes(answers.grounded, calibration)),
        *presence_measures(answers.questions, presences, forced),
    ]


def as_text(measures: list[Measure]) -> str:
    """Return two Markdown tables: the measures with a goal, then the others."""
    with_goal = [one.as_line() for one in measures if one.goal is not None]
    others = [one.as_line() for one in measures if one.goal is None]
    return "\n".join([HEADING, *with_goal, "", HEADING, *others]) + "\n"


def report(answers: Answers, calibration: Calibration, results: Path, images: Path) -> None:
    """Write the measures to `results`, and the reliability curves to `images`."""
    measures = evaluate(answers, calibration)
    results.mkdir(parents=True, exist_ok=True)
    (results / "confidence.md").write_text(as_text(measures))
    rounded = [dataclasses.asdict(one) | {"value": round(one.value, 5)} for one in measures]
    (results / "confidence.json").write_text(json.dumps(rounded, indent=1) + "\n")
    rated = rated_boxes(answers.grounded, calibration)
    boxes = {kind: [b for some in rated[kind].values() for b in some] for kind in (CLEAN, HARDER)}
    draw_reliability(boxes, images / "confidence-reliability.png")
    print(as_text(measures))


def main() -> None:
    """Evaluate as the command line requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("app/demo"))
    parser.add_argument("--scenes", type=positive, default=1000)
    parser.add_argument("--harder", type=positive, default=100, help="scenes of each harder kind")
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--results", type=Path, default=Path("results/evaluation"))
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    with errors_in_one_line():
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Measure, and write and draw the results."""
    check_output(options.results / "confidence.md")
    check_output(options.results / "confidence.json")
    check_output(options.images / "confidence-reliability.png")
    check_output(options.images / "refined-boxes.png")
    answerer = Answerer(options.checkpoint, options.device)
    answers = ask_all(answerer, options.scenes, options.harder)
    report(answers, answerer.calibration, options.results, options.images)
    draw_boxes(answers.grounded, answerer.calibration, options.images / "refined-boxes.png")


if __name__ == "__main__":
    main()
