"""Validates the predictions of tasks against a labelling configuration; prints the errors.

python validate_tasks.py CONFIG TASKS
"""

import json
import sys
from pathlib import Path

from label_studio_sdk.label_interface import LabelInterface

config, tasks = sys.argv[1:]
interface = LabelInterface(Path(config).read_text())
interface.validate()
json.dump(
    [
        interface.validate_prediction(prediction, return_errors=True)
        for task in json.loads(Path(tasks).read_text())
        for prediction in task["predictions"]
    ],
    sys.stdout,
)
