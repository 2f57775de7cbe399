"""The classes of a run: labels with the prompts that describe them to the model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.texts import read_text

MAX_CLASSES = 64
"""Limit of the service per request; more prompts make several requests per picture."""


class InvalidClasses(Kosmos2ClientError):
    """The classes of a run are empty or occur twice."""


@dataclass(frozen=True)
class Labels:
    """Labels and their prompts.

    Attributes:
        prompts: by label, in the order of their ids; a prompt belongs to one label.
    """

    prompts: Mapping[str, Sequence[str]]

    @classmethod
    def from_names(cls, names: Sequence[str]) -> Self:
        """Return labels that are their own prompts.

        Raises:
            InvalidClasses: the list is empty, or a name occurs twice.
        """
        return cls.from_pairs([(name, [name]) for name in names])

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file: JSON `{"label": ["prompt", …], …}`, or text with a class per line.

        Raises:
            InvalidClasses: the file has another form.
            InvalidInput: it is not UTF-8.
            OSError: it cannot be read.
        """
        text = read_text(path)
        if path.suffix.lower() != ".json":
            return cls.from_names([line.strip() for line in text.splitlines() if line.strip()])
        try:
            content = json.loads(text)
            pairs = [(label, _as_list(prompts)) for label, prompts in content.items()]
        except (ValueError, TypeError, AttributeError):
            message = f'{path}: must be {{"label": ["prompt", …], …}}'
            raise InvalidClasses(message) from None
        return cls.from_pairs(pairs)

    @classmethod
    def from_pairs(cls, pairs: Sequence[tuple[str, list[str]]]) -> Self:
        """Return labels with their prompts.

        Raises:
            InvalidClasses: the list is empty, or a label or a prompt occurs twice.
        """
        labels = cls(dict(pairs))
        prompts = labels.all_prompts()
        if not prompts or not all(labels.prompts.values()):
            raise InvalidClasses("a run needs at least one class, and a class at least one prompt")
        if len(labels.prompts) < len(pairs) or len(set(prompts)) < len(prompts):
            raise InvalidClasses("a class or a prompt occurs twice")
        return labels

    def all_prompts(self) -> list[str]:
        """Return the prompts of all labels, in order."""
        return [prompt for prompts in self.prompts.values() for prompt in prompts]

    def requests(self) -> list[list[str]]:
        """Return the classes of each request for a picture."""
        prompts = self.all_prompts()
        return [prompts[at : at + MAX_CLASSES] for at in range(0, len(prompts), MAX_CLASSES)]

    def has_prompt(self, found: Mapping[str, Any]) -> bool:
        """Return whether a prediction of a combined answer was found with a prompt of its label."""
        return found.get("prompt", found["class"]) in self.prompts.get(found["class"], ())

    def combine(self, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return one answer with labels as classes, from the answers to `requests()`.

        A prediction keeps its prompt in `prompt` if that is not the label.
        """
        names = list(self.prompts)
        if len(answers) == 1 and self.all_prompts() == names:
            return dict(answers[0])
        label_of = {prompt: label for label, own in self.prompts.items() for prompt in own}
        id_of = {label: number for number, label in enumerate(names)}
        presence: dict[str, float] = {}
        predictions = []
        for answer in answers:
            for one in answer["classes"]:
                label = label_of[one["class"]]
                presence[label] = max(presence.get(label, 0.0), one["presence"])
            for found in answer["predictions"]:
                label = label_of[found["class"]]
                named = {**found, "class": label, "class_id": id_of[label]}
                predictions.append(named if label == found["class"] else _with_prompt(named, found))
        return {
            **answers[0],
            "predictions": sorted(predictions, key=lambda found: -found["confidence"]),
            "classes": [
                {"class": name, "class_id": id_of[name], "presence": presence[name]}
                for name in names
            ],
            "usage": _sum_of([answer["usage"] for answer in answers]),
            "time": round(sum(answer["time"] for answer in answers), 6),
        }


def _as_list(prompts: str | list[str]) -> list[str]:
    """Return prompts of a file as a list.

    Raises:
        TypeError: they are no texts.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a prompt is a text")
    return texts


def _with_prompt(named: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    return {**named, "prompt": found["class"]}


def _sum_of(usages: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(usage[name] for usage in usages) for name in usages[0]}
