"""What an evaluation has counted so far, in files, so that a run that was killed goes on where it was.

A folder holds parts: each process of each run writes one of its own, whole, and puts it in place in one step. Nothing
is ever merged on disk, so no moment of a crash loses or doubles a count; the images that the parts name as done are
left out by the next run, whatever its number of processes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.counts import Counts

NEW = ".new"  # of a part that is being written


class Tally:
    """The counts of one process, saved after the first image, and then every `seconds`.

    The first time at once: a folder that cannot be written to is found out before hours of work.
    """

    def __init__(self, folder: Path, n_classes: int, seconds: float = 10.0) -> None:
        self.counts = Counts.none(n_classes)
        self._folder = folder
        self._path = folder / f"{uuid.uuid4().hex}.json"
        self._done: list[str] = []
        self._seconds = seconds
        self._saved_at = -math.inf

    def add(self, name: str, counts: Counts) -> None:
        """Counts one image; saves when it is time."""
        self.counts += counts
        self._done.append(name)
        if time.monotonic() - self._saved_at >= self._seconds:
            self.save()

    def save(self) -> None:
        """Puts everything counted so far in place of what was there."""
        if not self._done:
            return
        content = {
            "done": self._done,
            "hits": self.counts.hits.tolist(),
            "truth": self.counts.truth.tolist(),
            "predicted": self.counts.predicted.tolist(),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(NEW)
        with new.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        self._saved_at = time.monotonic()


def folder_of(parent: Path, name: str, key: dict[str, Any]) -> Path:
    """The folder of one evaluation: `name`, and a digest of all that its counts depend on."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return parent / f"{name}-{digest[:16]}"


def read_parts(folder: Path, n_classes: int) -> tuple[Counts, set[str]]:
    """The sum of all parts, and the names of the images in them.

    Raises:
        DatasetError: a part is damaged, or two hold the same image: two runs went on at the same time.
    """
    total = Counts.none(n_classes)
    done: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        try:
            part = json.loads(path.read_bytes())
            counts = Counts(*(np.array(part[name], np.int64) for name in ("hits", "truth", "predicted")))
            names = part["done"]
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path} is damaged ({error!r}); delete it, its images are evaluated again") from None
        if done.intersection(names):
            raise DatasetError(f"{folder} holds images twice: two evaluations ran at once; delete it to begin anew")
        total += counts
        done.update(names)
    return total, done


def forget(folder: Path) -> None:
    """Deletes the parts of an evaluation that has come to its end."""
    shutil.rmtree(folder, ignore_errors=True)
