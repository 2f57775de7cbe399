"""The methods `to_…` of answers; tests/clients compares them with the tools that read them."""

import pytest

from harness.run_files import detect_answer
from harness.sample_answers import ANSWER
from kosmos2_client.results import Detections, Grounding

CIRCLE = ("red circle", (10.0, 20.0, 60.0, 70.0), 0.9)
SQUARE = ("blue square", (100.0, 0.0, 200.0, 100.0), 0.4)
EMPTY = Detections.from_json(detect_answer([]))
BOTH = Detections.from_json(detect_answer([CIRCLE, SQUARE, CIRCLE]))
