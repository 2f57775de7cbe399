"""A run file with every kind of line, for tests of exports."""

from collections.abc import Callable
from typing import Any

from harness.run_files import answer_line, detect_answer, error_line, image

CIRCLE = ("red circle", (10.0, 20.0, 60.0, 70.0), 0.9)
SQUARE = ("blue square", (100.0, 0.0, 200.0, 100.0), 0.4)
LINES = (
    answer_line("z/both.jpg", detect_answer([CIRCLE, SQUARE])),
    error_line("damaged.jpg"),
    answer_line("a.jpg", detect_answer([])),
    answer_line("turned.jpg", detect_answer([CIRCLE], picture=image(exif_orientation=6))),
)
Export = Callable[..., Any]
