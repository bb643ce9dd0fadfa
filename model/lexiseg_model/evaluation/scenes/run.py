"""A model on scenes, one record an image: images shared among processes, records kept on disk, figures at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.data.scenes import Scene, SceneSet
from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.ranks import ALONE, Ranks
from lexiseg_model.evaluation.read_ahead import read_ahead
from lexiseg_model.evaluation.records import Record, RecordFile, read_records
from lexiseg_model.evaluation.scenes.judges import Judge
from lexiseg_model.evaluation.tally import folder_of, forget
from lexiseg_model.segmenter import Segmenter

Truth = TypeVar("Truth")


class SceneRun(Generic[Truth]):
    """One evaluation; `left` says what is left to do for this process, `done` how many images were done before."""

    def __init__(
        self,
        segmenter: Segmenter,
        data: SceneSet[Truth],
        task: str,
        judge: Judge[Truth],
        progress: Path,
        ranks: Ranks = ALONE,
    ) -> None:
        """Reads what earlier runs have left.

        Args:
            segmenter: the model that `judge` runs.
            data: the split, or the part of it that is wanted.
            task: name of what is measured.
            judge: makes the record of one image.
            progress: folder in which the records of unfinished evaluations are kept.
            ranks: the processes that share the work; each makes a SceneRun of the same arguments.

        Raises:
            DatasetError: what earlier runs have left is damaged.
        """
        self._judge = judge
        self._ranks = ranks
        self._names = [scene.name for scene in data.scenes]
        key = {
            "model": [segmenter.digest, segmenter.text_digest, segmenter.card.model_dump(mode="json")],
            "data": [data.name, data.split, data.background, data.source, self._names],
            "classes": [[entry.name, entry.words, entry.thing] for entry in data.classes],
            "task": task,
            "settings": judge.settings,
        }
        self._folder = folder_of(progress, f"{segmenter.card.name}-{data.name}-{data.split}-{task}", key)
        found = read_records(self._folder)
        self.done = len(found)
        ranks.wait()  # nobody writes before everybody has read
        left = [scene for scene in data.scenes if scene.name not in found]
        self.left: tuple[Scene[Truth], ...] = tuple(left[ranks.rank :: ranks.world])

    def run(self, on_image: Callable[[], None] = lambda: None) -> list[Record]:
        """Does this process's share; the records of all images, in their order. `on_image` is called after each.

        Raises:
            DatasetError: a truth is damaged, or not of its photograph's size; or the processes do not share a folder.
        """
        with RecordFile(self._folder) as file:
            for scene, (rgb, truth) in read_ahead(self.left, _read):
                file.add(scene.name, self._record(scene.name, rgb, truth))
                on_image()
        self._ranks.wait()
        found = read_records(self._folder)
        missing = [name for name in self._names if name not in found]
        if missing:
            raise DatasetError(
                f"{self._folder} lacks {len(missing)} images, as {missing[0]!r}: every process must see the same folder"
            )
        self._ranks.wait()
        if self._ranks.first:
            forget(self._folder)
        return [found[name] for name in self._names]

    def _record(self, name: str, rgb: NDArray[np.uint8], truth: Any) -> Record:
        try:
            return self._judge(rgb, truth)
        except DatasetError as error:
            raise DatasetError(f"{name}: {error}") from None


def _read(scene: Scene[Truth]) -> tuple[NDArray[np.uint8], Truth]:
    return scene.read_image(), scene.read_truth()
