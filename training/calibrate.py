"""Measures how to read a checkpoint's probabilities: `python -m training.calibrate`.

Writes `grounding_calibration.json` next to the weights. Neither training nor the evaluation uses
the scenes on which it is measured.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from app.checkpoint.calibration import CALIBRATION_FILE, Calibration
from training.answering import Answerer
from training.calibration_choices import Measurements, Report, calibrate
from training.command_line import check_output, device, errors_in_one_line, positive
from training.confidence_questions import ClassProbe, ask_for_boxes, chunks, class_list
from training.harder_scenes import HARDER
from training.measured_scenes import measured_scene

QUESTIONS = (
    "Is there a {class}?",
    "Is there a {class} in the picture?",
    "Is there a {class} in the image?",
    "Do you see a {class}?",
    "Can you see a {class} in the picture?",
    "Are there any {class}?",
)
PHRASES = ("a {class}", "the {class}", "{class}")
NUM_CLASSES = 10
"""Classes of a list; on average, three of them are in the picture."""

LEAST_SCENES = 20
"""A tenth of them have class lists, of which each half of a cross-validation needs one."""

FIRST_CLASS_SCENE = 100_000
"""Class lists have scenes of their own."""


def measure(answerer: Answerer, num_scenes: int) -> Measurements:
    """Return the answers on `num_scenes` clean and twice as many harder scenes.

    A tenth of that number of further scenes have class lists.
    """
    grounded = [
        one
        for numbers in chunks(num_scenes)
        for one in ask_for_boxes(answerer, "calibration", numbers)
    ]
    for kind in HARDER:
        grounded += ask_for_boxes(answerer, "calibration", range(num_scenes // 3), kind)
    numbers = range(FIRST_CLASS_SCENE, FIRST_CLASS_SCENE + num_scenes // 10)
    scenes = [measured_scene("calibration", number) for number in numbers]
    questions = [
        question
        for number, scene in zip(numbers, scenes, strict=True)
        for question in class_list(number, scene, NUM_CLASSES)
    ]
    probe = ClassProbe(answerer, numbers, scenes)
    return Measurements(
        grounded,
        questions,
        {
            text: probe.log_odds(questions, Calibration(presence_question=text))
            for text in QUESTIONS
        },
        {text: probe.boxes(questions, Calibration(class_phrase=text)) for text in PHRASES},
    )


def write(calibration: Calibration, report: Report, num_scenes: int, directory: Path) -> None:
    """Write the calibration file of a checkpoint."""
    values = asdict(calibration)
    del values["is_measured"]
    values["measured"] = {
        "command": f"python -m training.calibrate --scenes {num_scenes}",
        "on": f"{num_scenes} clean scenes, {num_scenes // 3} of each harder kind, and "
        f"{num_scenes // 10} lists of {NUM_CLASSES} classes, drawn by training/measured_scenes.py; "
        "calibration errors, log losses and F1 are those of scenes on which nothing was fitted",
        **report,
    }
    path = directory / CALIBRATION_FILE
    path.write_text(json.dumps(values, indent=2) + "\n")


def main() -> None:
    """Calibrate as the command line requests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("app/demo"))
    parser.add_argument("--scenes", type=positive, default=1500, help=f"at least {LEAST_SCENES}")
    parser.add_argument("--device", type=device, default="cpu")
    options = parser.parse_args()
    if options.scenes < LEAST_SCENES:
        parser.error(f"argument --scenes: at least {LEAST_SCENES}")
    with errors_in_one_line():
        run(options)


def run(options: argparse.Namespace) -> None:
    """Measure, write the calibration file, and print how it was chosen."""
    answerer = Answerer(options.checkpoint, options.device)
    check_output(options.checkpoint / CALIBRATION_FILE)
    measurements = measure(answerer, options.scenes)
    calibration, report = calibrate(measurements)
    write(calibration, report, options.scenes, options.checkpoint)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
