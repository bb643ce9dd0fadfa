"""A training as a folder, which gateways write and a trainer works on.

    ID/training.json   what was asked; written last, so that a folder without it is not complete
    ID/pictures/       the pictures with their labels
    ID/state.json      where it stands; written by the trainer
    ID/log.txt         what the training prints
    ID/run/NAME/       the training's own files, and at its end a model directory

The folder is shared by a volume where gateway and trainer are apart. A folder that is gone ends its training.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lexiseg_model.files import replace_file

State = Literal["waiting", "running", "done", "refused", "failed"]
ENDED = ("done", "refused", "failed")
PICTURES = "pictures"


@dataclass(frozen=True)
class Training:
    """What a client asked for."""

    id: str
    owner: str  # id of the API key
    name: str  # of the new model
    start: str  # NAME or NAME@VERSION of the model that it starts from
    created: float  # seconds since the epoch


@dataclass(frozen=True)
class Standing:
    """Where a training stands. `figures`: step, and reports before and after, as the training wrote them."""

    state: State = "waiting"
    started: float | None = None
    ended: float | None = None
    detail: str | None = None
    figures: Mapping[str, Any] | None = None


class TrainingFolder:
    """The folder of all trainings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def all(self) -> list[Training]:
        """Complete trainings, the oldest first."""
        found = (self.find(path.parent.name) for path in self.root.glob("*/training.json"))
        return sorted((each for each in found if each is not None), key=lambda each: (each.created, each.id))

    def find(self, identity: str) -> Training | None:
        """One training."""
        content = _read(self.path(identity) / "training.json")
        return None if content is None else Training(**content)

    def add(self, training: Training) -> None:
        """Complete a training whose pictures are in its folder."""
        replace_file(self.path(training.id) / "training.json", json.dumps(asdict(training)).encode())

    def standing(self, identity: str) -> Standing:
        """Where a training stands."""
        content = _read(self.path(identity) / "state.json")
        return Standing() if content is None else Standing(**content)

    def note(self, identity: str, standing: Standing) -> None:
        """Record where a training stands. Raises OSError: its folder is gone, or the disk is full."""
        replace_file(self.path(identity) / "state.json", json.dumps(asdict(standing)).encode())

    def path(self, identity: str) -> Path:
        """The folder of a training."""
        return self.root / Path(identity).name

    def log(self, identity: str) -> Path:
        """The file of its output."""
        return self.path(identity) / "log.txt"

    def remove(self, identity: str) -> None:
        """Remove a training; one that runs is ended by the trainer, which misses the folder."""
        gone = self.root / f".{Path(identity).name}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path(identity), gone)
        shutil.rmtree(gone, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content
