"""Model directories that change while the worker runs: load and warm up the new model, then replace the old one.

    look -> changed, and the same twice -> load while the old one serves -> warm up -> exchange -> release the old one

A damaged directory changes nothing: the old model stays, the log says so, and the next change is tried. Models that
could not be loaded are tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import ModelError, WeightsError
from lexiseg_model.model_name import ModelName
from lexiseg_model.segmenter import Segmenter
from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.models.pool import ModelPool
from lexiseg_service.worker.models.served import Served, served_as

logger = structlog.get_logger("lexiseg.models")

LOOK_SECONDS = 2.0  # between two looks
FileStates = tuple[tuple[str, int, int, int], ...]


class ModelWatch:
    """Polls the directories of a pool's models, on its own thread; `warm_up` gets a new model before it is served."""

    def __init__(
        self,
        pool: ModelPool,
        settings: Settings,
        warm_up: Callable[[Segmenter], None],
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._warm_up = warm_up
        self._metrics = metrics
        self._over = threading.Event()
        self._files = {served.name: self._look(served) for served in pool.served}
        self._changing: dict[str, FileStates | None] = {}
        self._candidates: dict[str, FileStates] = {}  # new models that were looked at
        self._thread = threading.Thread(target=self._forever, name="model-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; a load under way is waited for."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _forever(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._pool.retry_failed()
            if self._settings.trainings is not None:
                self.adopt()
            for served in self._pool.served if self._settings.models_dir is not None else ():
                try:
                    self.check(served)
                except Exception:  # must not stop the others
                    logger.exception("a model directory could not be looked at", model=served.name)

    def adopt(self) -> None:
        """Serve the models that trainings have added to the folder since the last look."""
        names = {served.name for served in self._pool.served} | {served.card.name for served in self._pool.served}
        present = catalogue.folders(self._settings.models_dir)
        for name in sorted(present.keys() - catalogue.bundled().keys() - names):
            state = _state_of(present[name])
            if state is None or self._candidates.get(name) == state:
                continue
            self._candidates[name] = state  # until its files change
            try:
                new = served_as(name, self._settings)
            except (ModelError, ServiceError, OSError) as error:
                logger.warning("a new model cannot be served", model=name, error=str(error))
                continue
            self._files[new.name] = self._look(new)
            if self._pool.add(new):
                logger.info("model added", model=str(ModelName.from_card(new.card)))

    def check(self, served: Served) -> None:
        """Look at one directory; the second look that finds the same change replaces the model."""
        state = self._look(served)
        if state == self._files[served.name]:
            self._changing.pop(served.name, None)
            return
        if state is None and served.name not in self._changing:
            logger.warning("no model in its directory now; the old one goes on", model=served.name)
        if state is None or self._changing.get(served.name) != state:  # gone for now, or still being written
            self._changing[served.name] = state
            return
        if self._exchange(served):
            self._files[served.name] = state

    def _exchange(self, served: Served) -> bool:
        """Replace a model; False if it has to be tried again."""
        display_name = self._pool.display_name(served)
        try:
            new = served_as(served.name, self._settings)
            if any(
                ModelName.from_card(new.card) == ModelName.from_card(other.card)
                for other in self._pool.served
                if other != served
            ):
                logger.warning(
                    "the new model is served already, under its own name", model=str(ModelName.from_card(new.card))
                )
                return True
            if self._pool.digest(str(ModelName.from_card(served.card))) is None:
                return self._pool.exchange(served, new)
            segmenter = self._pool.load_unserved(new)
            self._warm_up(segmenter)
        except (ModelError, ServiceError, OSError) as error:
            logger.error("the new model cannot be loaded; the old one goes on", model=display_name, error=str(error))
            self._metrics.load_failures.labels(display_name).inc()
            return True
        if not self._pool.exchange(served, new, segmenter):
            return False
        before, after = ModelName.from_card(served.card), ModelName.from_card(new.card)
        logger.info("model exchanged", model=str(after), before=str(before), digest=segmenter.digest)
        return True

    def _look(self, served: Served) -> FileStates | None:
        try:
            return _state_of(self._folder(served))
        except (ModelError, KeyError):
            return None

    def _folder(self, served: Served) -> Path:
        try:
            return catalogue.find(served.name, self._settings.models_dir).folder
        except WeightsError:  # a damaged card, which `_exchange` reports
            return catalogue.folders(self._settings.models_dir)[served.name]


def _state_of(folder: Path) -> FileStates | None:
    """State of the files of a folder; None if it is gone."""
    try:
        files = sorted(path for path in folder.resolve().iterdir() if path.is_file())
        states = ((path, path.stat()) for path in files)
        return tuple((str(path), at.st_mtime_ns, at.st_ino, at.st_size) for path, at in states)
    except OSError:
        return None
