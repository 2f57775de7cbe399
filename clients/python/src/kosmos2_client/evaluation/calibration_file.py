"""Writes `grounding_calibration.json`, fitted on half of the pictures, checked on the rest.

Presence, confidence curve and threshold are fitted on top of the calibration with which the service
answered. What a run does not show (the exponent of the cells, the wording of questions) stays as it
was.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kosmos2_client.errors import InvalidInput
from kosmos2_client.evaluation.calibration import Examples, Fitted, collect, fit, measures
from kosmos2_client.evaluation.evaluate import Comparison
from kosmos2_client.evaluation.fitting import DIGITS, IDENTITY, compose_curves
from kosmos2_client.export.selection import Selection
from kosmos2_client.results import Detections


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and how well it predicts the held-out pictures.

    Attributes:
        content: of `grounding_calibration.json`.
        before: measures of the answers as they are, on the held-out pictures.
        after: measures of the new calibration, on the same pictures.
    """

    content: Mapping[str, Any]
    before: Mapping[str, float]
    after: Mapping[str, float]

    def as_text(self) -> str:
        """Return a table of the measures on the held-out pictures."""
        lines = ["on held-out pictures   before   after"]
        for name, value in self.after.items():
            lines.append(f"{name:<20}  {self.before[name]:>7.4f} {value:>7.4f}")
        if self.after["f1"] < self.before["f1"]:
            lines.append("F1 is lower than before: keep the old calibration, or add labels.")
        return "\n".join(lines)


def calibrate(comparison: Comparison, base_path: Path | None) -> Calibrated:
    """Fit a calibration to half of the pictures, and measure it on the others.

    Args:
        comparison: its selection is not used: thresholds would hide examples.
        base_path: the `grounding_calibration.json` of the service that answered.

    Raises:
        OSError: the base cannot be read.
        InvalidInput: the run, the truth or the base do not allow a calibration.
    """
    everything = replace(comparison, selection=Selection())
    base = read_base(base_path, is_calibrated=_is_calibrated(everything))
    fitted_on, held_out = collect(everything.pictures(), comparison.classes)
    fitted = fit(fitted_on)
    before, after = measures(held_out, base_fitted(base)), measures(held_out, fitted)
    measured = {
        "command": "kosmos2-client evaluate --write-calibration",
        "on": _describe(fitted_on, held_out),
        "held_out": {"before": before, "after": after},
    }
    return Calibrated(as_calibration(fitted, base, measured), before, after)


def _is_calibrated(comparison: Comparison) -> bool:
    """Return whether the first answer states a calibration; a run has one service."""
    results = (picture.result for picture in comparison.pictures())
    first = next((result for result in results if isinstance(result, Detections)), None)
    return first is not None and first.is_calibrated


def _describe(fitted_on: Examples, held_out: Examples) -> str:
    return (
        f"{len(fitted_on.presences)} classes in pictures with {len(fitted_on.overlaps)} boxes, "
        f"checked on {len(held_out.presences)} classes in other pictures with "
        f"{len(held_out.overlaps)} boxes"
    )


def read_base(path: Path | None, *, is_calibrated: bool) -> dict[str, Any]:
    """Return the calibration with which the service answered.

    Args:
        path: of its `grounding_calibration.json`; `None` for a checkpoint without one.
        is_calibrated: whether the answers state that there was one.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: file and answers contradict each other, or the file is no calibration.
    """
    if is_calibrated != (path is not None):
        state = "a calibration" if is_calibrated else "no calibration"
        raise InvalidInput(
            f"the service answered with {state}: name it with --base-calibration, and only it"
        )
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        [tuple(map(float, point)) for point in content.get("confidence_curve", [])]
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(f"{path}: not a calibration") from None
    return dict(content)


def base_fitted(base: Mapping[str, Any]) -> Fitted:
    """Return the identity with the threshold of the base: how the service answered."""
    return Fitted(threshold=float(base.get("default_threshold", 0.0)))


def as_calibration(
    fitted: Fitted, base: Mapping[str, Any], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of `grounding_calibration.json`: the fit on top of the base.

    Args:
        measured: command and pictures of the measurement; the service ignores it.
    """
    scale, bias = base.get("presence_scale", 1.0), base.get("presence_bias", 0.0)
    inner = tuple((float(x), float(y)) for x, y in base.get("confidence_curve", IDENTITY))
    return {
        **{name: value for name, value in base.items() if name != "measured"},
        "default_threshold": fitted.threshold,
        "presence_scale": round(fitted.scale * scale, DIGITS),
        "presence_bias": round(fitted.scale * bias + fitted.bias, DIGITS),
        "confidence_curve": [list(point) for point in compose_curves(fitted.curve, inner)],
        "measured": dict(measured),
    }
