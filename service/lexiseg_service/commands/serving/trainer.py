"""`lexiseg trainer`: work on trainings one after the other, each in a sandbox of its own.

    next client -> its oldest training -> `training_run` -> better than its start? -> model directory

One trainer at a time has the lock of the folder. The training inherits it: where a trainer was killed, the next one
waits until the training that it left behind has ended, and then resumes it from its checkpoint.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from lexiseg_model.command_line.signals import on_signals
from lexiseg_service.commands.serving.training_run import (
    POLL_SECONDS,
    RUN,
    Bounds,
    End,
    TrainingRun,
    read_report,
)
from lexiseg_service.entry_points import COMMANDS, entry_points_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.trainings.training import UNENDED, State, Training, TrainingStore
from lexiseg_service.gateway.uploaded_archive import PROGRAM
from lexiseg_service.records.store import StoreAway
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs

logger = structlog.get_logger("lexiseg.trainer")
NICENESS = 10  # requests come first
BEAT_SECONDS = 5.0  # between two signs of life
MAX_ATTEMPTS = 3  # times that a training may take its trainer down with it
MAX_FIGURES_BYTES = 2**24
FIGURES = "before-after.json"
MEASURE = "mIoU"  # among its changes, which decides
OWN_LABELS = 90.0  # mIoU of the head, in percent, from which the model has most likely written the labels itself
# Of a run, what a model directory does not need.
LEFT_BEHIND = shutil.ignore_patterns("laid-out", "samples", "packs", "checkpoints", "*.pt")


def check(settings: Settings) -> None:
    """Check that a trainer can work by these settings."""
    if settings.trainings is None or settings.models_dir is None:
        missing = "LEXISEG_MODELS_DIR" if settings.trainings else "LEXISEG_TRAININGS"
        raise InvalidValue.of(missing, "", "a folder: trainings are read from one, and models written to the other")
    if missing_commands := {"train", "data"} - entry_points_of(COMMANDS).keys():
        raise InvalidValue.of(
            "LEXISEG_TRAININGS",
            f"no `lexiseg {min(missing_commands)}` here",
            "lexiseg-train beside it, which brings that command; or make full",
        )


def run(settings: Settings) -> int:
    """Work until SIGINT or SIGTERM; a training that runs writes a checkpoint first. Returns the exit status."""
    check(settings)
    assert settings.trainings is not None
    assert settings.models_dir is not None
    logs.configure(settings, "trainer")
    os.nice(NICENESS)
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(TrainingStore(settings.trainings), settings.models_dir, Bounds.from_settings(settings))
    with on_signals(trainer.stop, signal.SIGTERM, signal.SIGINT):
        trainer.work()
    return 0


class Trainer:
    """Works on the trainings of a folder."""

    def __init__(
        self, store: TrainingStore, models_dir: Path, bounds: Bounds, program: Sequence[str] = PROGRAM
    ) -> None:
        self._store = store
        self._models_dir = models_dir
        self._bounds = bounds
        self._program = program
        self._over = threading.Event()
        self._beaten = float("-inf")

    def stop(self, *_: object) -> None:
        """End after the current step."""
        self._over.set()

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        """Take trainings until `stop`, or until there is none and `until()` holds."""
        while not self._over.is_set():
            self._beat()
            try:
                training = self._next()
                if training is not None:
                    with self._store.locked() as lock:
                        if lock is not None:
                            self._train(training, lock)
                            continue
                elif until():
                    return
            except (OSError, StoreAway) as error:  # the disk is full
                logger.warning("training not recorded", error=str(error))
            self._over.wait(POLL_SECONDS)

    def _beat(self) -> None:
        """Show now and then that this trainer lives."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            try:
                self._store.beat()
            except StoreAway as error:
                logger.warning("folder of trainings cannot be written", error=str(error))
            self._beaten = time.monotonic()

    def _next(self) -> Training | None:
        """One that runs, else the oldest of the client that has waited longest since its last one."""
        trainings = self._store.all()
        last: dict[str, float] = {}
        for training in trainings:
            last[training.client] = max(last.get(training.client, 0.0), training.started or 0.0)
        unended = [training for training in trainings if training.state in UNENDED]
        turn = sorted(unended, key=lambda each: (each.state != "running", last[each.client], each.created))
        return turn[0] if turn else None

    def _train(self, training: Training, lock: int) -> None:
        attempts = training.attempts
        if attempts >= MAX_ATTEMPTS:
            detail = f"it was begun {attempts} times, and each time took its trainer down with it"
            self._end(training, {"state": "failed", "detail": detail})
            return
        started = training.started or time.time()
        if self._store.update(training.id, state="running", started=started, attempts=attempts + 1) is None:
            return  # removed meanwhile
        logger.info("training started", training=training.id, model=training.name)
        end = TrainingRun(
            self._store, training, self._models_dir, self._bounds, lock, self._program, self._over, self._beat
        ).run()
        if not end.stopped:
            self._end(training, self._outcome(training, end))
        elif self._store.update(training.id, attempts=attempts) is None:
            self._store.remove(training.id)

    def _end(self, training: Training, outcome: Mapping[str, Any]) -> None:
        record = partial(self._store.update, training.id, ended=time.time(), nbytes=0, **outcome)
        try:
            record()
        except StoreAway:  # a full disk has room for the record without the pictures
            self._store.clear(training.id)
            record()
        self._store.clear(training.id)

    def _outcome(self, training: Training, end: End) -> dict[str, Any]:
        run = self._store.path(training.id) / RUN / training.name

        def ended(state: State, detail: str, figures: dict[str, Any] | None = None) -> dict[str, Any]:
            return {"state": state, "detail": detail, "figures": figures}

        if end.failure is not None:
            logger.warning("training failed", training=training.id, reason=end.failure)
            return ended("failed", end.failure)
        if training.dry_run:
            return ended("done", "The archive can be trained on; nothing was trained, as asked.")
        figures = read_report(run / FIGURES, MAX_FIGURES_BYTES)
        if figures is None:
            return ended("failed", "it wrote no figures")
        if not figures.get("step"):
            return ended("refused", _refusal(training, figures), figures)
        if not self._publish(run, training.name):
            return ended("failed", f"another model has the name {training.name} by now", figures)
        logger.info("model published", training=training.id, model=training.name)
        return ended("done", f"The model {training.name} is in the list.", figures)

    def _publish(self, run: Path, name: str) -> bool:
        """Move a model directory to the served ones, whole or not at all; False: another has its name."""
        target = self._models_dir / name
        if target.exists():  # published before a kill, or somebody else's
            return (target / FIGURES).is_file() and (target / FIGURES).read_bytes() == (run / FIGURES).read_bytes()
        fresh = self._models_dir / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(run, fresh, ignore=_left_behind)
        os.rename(fresh, target)
        return True


def _left_behind(folder: str, names: list[str]) -> Collection[str]:
    """What is not copied: leftovers of the training, and links, which may lead out of its folder."""
    return LEFT_BEHIND(folder, names) | {name for name in names if (Path(folder) / name).is_symlink()}


def _refusal(training: Training, figures: Mapping[str, Any]) -> str:
    """Why a training is refused, with the change of the measure that decides, and what to do."""
    sentence = f"It gained nothing over a head alone on pictures that it was not trained on, so {training.start} stays"
    change = next((each for each in figures.get("changes", ()) if each["measure"] == MEASURE), None)
    if change is not None and change["low"] is not None:
        sentence += f" ({MEASURE} {change['difference']:+.1f}, 95 % {change['low']:+.1f} to {change['high']:+.1f})"
    return f"{sentence}. {_advice(training, figures)}"


def _advice(training: Training, figures: Mapping[str, Any]) -> str:
    before = figures["before"].get("miou") or 0.0
    if before >= OWN_LABELS:
        reason = f"A head of {training.start} gives these labels itself ({MEASURE} {before:.1f})"
        return f"{reason}: correct what is wrong in them."
    return "Label more pictures of each class, or use the head."
