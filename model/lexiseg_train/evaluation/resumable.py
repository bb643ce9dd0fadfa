"""Evaluations that resume after a kill and run in several processes.

Each process of each run appends one JSON line per image to a file of its own. A resumed run skips the images that have
a record; a line that a crash cut short counts as missing. Records are combined only at the end, so figures depend
neither on the order nor on the number of processes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError
from lexiseg_model.segmenter import Segmenter
from lexiseg_train.data.files.runs import read_ahead
from lexiseg_train.data.scenes import Scene
from lexiseg_train.training.processes import rank, wait_for_all, world_size

Record = dict[str, Any]  # JSON values
READ_AHEAD = 2  # images
Truth = TypeVar("Truth")


class EvaluationRun(Generic[Truth]):
    """One evaluation, shared by torchrun's processes: `n_before` images of earlier runs, this process's own `left`."""

    def __init__(
        self,
        segmenter: Segmenter,
        scenes: Sequence[Scene[Truth]],
        judge: Callable[[NDArray[np.uint8], Truth], Record],
        progress: Path,
        name: str,
        key: dict[str, Any],
    ) -> None:
        """Read the records of earlier runs, in `progress`.

        `judge` makes the record of a photograph [H, W, 3] and its truth; `key` has JSON values that the records depend
        on, apart from the model and the names of the images.
        """
        self._names = [scene.name for scene in scenes]
        model = [segmenter.digest, segmenter.text_digest, segmenter.card.model_dump(mode="json")]
        described = json.dumps({"model": model, "images": self._names, **key}, sort_keys=True)
        digest = hashlib.sha256(described.encode()).hexdigest()
        self._folder = progress / f"{segmenter.card.name}-{name}-{digest[:16]}"
        self._judge = judge
        records = read_records(self._folder)
        self.n_before = len(records)
        wait_for_all()  # all have read before one writes
        left = [scene for scene in scenes if scene.name not in records]
        self.left: tuple[Scene[Truth], ...] = tuple(left[rank() :: world_size()])

    def run(self, on_image: Callable[[], None] = lambda: None) -> list[Record]:
        """Judge this process's images; returns the records of all images in order."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{uuid.uuid4().hex}.jsonl").open("x", encoding="utf-8") as file:
            contents = read_ahead(
                self.left, lambda scene: (scene.read_image(), scene.read_truth()), READ_AHEAD, READ_AHEAD
            )
            for scene, content in contents:
                try:
                    record = self._judge(*content)
                except DatasetError as error:
                    raise DatasetError(f"{scene.name}: {error}") from None
                file.write(json.dumps([scene.name, record], separators=(",", ":")) + "\n")
                file.flush()
                on_image()
        wait_for_all()
        records = read_records(self._folder)
        missing = [name for name in self._names if name not in records]
        if missing:
            raise DatasetError(
                f"{self._folder} lacks {len(missing)} images, such as {missing[0]!r}: every process must see the same "
                "folder"
            )
        wait_for_all()
        if rank() == 0:
            shutil.rmtree(self._folder, ignore_errors=True)
        return [records[name] for name in self._names]


def read_records(folder: Path) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines[:-1], 1):  # after the last newline: nothing, or a line cut short
            try:
                name, record = json.loads(line)
            except (ValueError, TypeError) as error:
                raise DatasetError(f"{path}, line {number} is damaged ({error!r}); delete the file") from None
            if name in records:
                raise DatasetError(f"{folder} holds {name!r} twice: two evaluations ran at once; delete it")
            records[name] = record
    return records
