"""Evaluates results with pycocotools; prints average precisions per class.

python cocoeval.py INSTANCES RESULTS
"""

import json
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

instances, results = sys.argv[1:]
output, sys.stdout = sys.stdout, sys.stderr
truth = COCO(instances)
evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
evaluation.evaluate()
evaluation.accumulate()
precision = evaluation.eval["precision"][:, :, :, 0, 2]  # (limits, recalls, classes)
names = [category["name"] for category in truth.loadCats(evaluation.params.catIds)]
json.dump(
    {
        name: {
            "average_precision": precision[:, :, number].mean(),
            "average_precision_50": precision[0, :, number].mean(),
        }
        for number, name in enumerate(names)
    },
    output,
)
