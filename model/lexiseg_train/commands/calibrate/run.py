"""`lexiseg calibrate`: ask a server about photographs, choose thresholds, keep them in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lexiseg_client import Segmentation
from lexiseg_client.question.options import background_json
from lexiseg_model.errors import OptionError
from lexiseg_train.commands.calibrate.thresholds import Choice, Findings, choose
from lexiseg_train.commands.program import Photographs, Server


class Calibration:
    """Thresholds of a named class list of a server, by photographs and, where there are some, their true masks.

    Raises:
        OptionError: the list gives every pixel a class.
    """

    def __init__(self, server: Server, vocabulary: str, masks: Path | None) -> None:
        self._server = server
        self._kept = server.vocabulary(vocabulary)
        if not self._kept.background:
            expected = "one whose `background` is on: where every pixel gets a class nothing is dropped"
            raise OptionError(f"--vocabulary: expected {expected}, got {vocabulary!r}")
        self.findings = Findings([one.name for one in self._kept.classes], masks)

    def segment(self, photographs: Photographs) -> int:
        """Collect the findings of each photograph; no segment is dropped for its score. Returns the exit status."""
        classes = [{"name": one.name, "synonyms": list(one.synonyms), "threshold": 0.0} for one in self._kept.classes]
        fields: dict[str, Any] = {"classes": classes, "background": background_json(self._kept.background)}

        def segment_image(image: bytes) -> Segmentation:
            return self._server.segment(image, {**fields, "task": "semantic"})

        return photographs.segment(segment_image, self.findings.add)

    def choose(self) -> list[Choice]:
        """The choice for each class. Raises OptionError: no true mask shows any class."""
        self.findings.refuse_empty_truth()
        return [choose(of_class) for of_class in self.findings.by_class]

    def save(self, choices: Sequence[Choice], save_as: str | None) -> str:
        """Write the thresholds into the list, or into one called `save_as`; returns a sentence about it."""
        named = zip(self.findings.names, choices, strict=True)
        thresholds = {name: choice.threshold for name, choice in named if choice.threshold is not None}
        if not thresholds and not save_as:
            return "No class got a threshold; the vocabulary stays as it was."
        target = save_as or self._kept.name
        classes = [replace(one, threshold=thresholds.get(one.name, one.threshold)) for one in self._kept.classes]
        self._server.keep_vocabulary(target, classes, self._kept)
        return f"{len(thresholds)} of {len(choices)} classes have a threshold in the vocabulary {target}."
