"""`lexiseg trainer`: work on trainings one after the other, each in a sandbox of its own.

    next client -> its oldest training -> `training_run` -> better than its start? -> model directory

One trainer at a time has the lock of the folder. The training inherits it: where a trainer was killed, the next one
waits until the training that it left behind has ended, and then resumes it from its checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from lexiseg_service.gateway.trainings.training import ENDED, Standing, Training, TrainingFolder
from lexiseg_service.gateway.uploaded_archive import PROGRAM
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs

logger = structlog.get_logger("lexiseg.trainer")
NICENESS = 10  # requests come first
BEAT_SECONDS = 5.0  # between two signs of life
MAX_BEGUN = 3  # times that a training may take its trainer down with it
MAX_FIGURES_BYTES = 2**24
FIGURES = "before-after.json"
MEASURE = "mIoU"  # among its changes, which decides
OWN_LABELS = 90.0  # mIoU of the head, in percent, from which the model has most likely written the labels itself
# Of a run, what a model directory does not need.
LEFT_BEHIND = shutil.ignore_patterns("laid-out", "samples", "packs", "checkpoints", "*.pt")


def check(settings: Settings) -> None:
    """Check that a trainer can work by these settings.

    Raises:
        InvalidValue: they name no folder of trainings or of models, or lexiseg-train is not installed.
    """
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
    """Work until SIGINT or SIGTERM; a training that runs writes a checkpoint first. Returns the exit status.

    Raises:
        InvalidValue: as `check`.
    """
    check(settings)
    assert settings.trainings is not None
    assert settings.models_dir is not None
    logs.configure(settings, "trainer")
    os.nice(NICENESS)
    settings.trainings.mkdir(parents=True, exist_ok=True)
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(TrainingFolder(settings.trainings), settings.models_dir, Bounds.from_settings(settings))
    with on_signals(trainer.stop, signal.SIGTERM, signal.SIGINT):
        trainer.work()
    return 0


class Trainer:
    """Works on the trainings of a folder.

    Args:
        folder: the trainings.
        models_dir: where models go that are better than their start.
        bounds: of each training.
        program: runs `data import FROM TO` and `train finetune --start NAME data=FOLDER out=FOLDER models_dir=FOLDER`.
    """

    def __init__(
        self, folder: TrainingFolder, models_dir: Path, bounds: Bounds, program: Sequence[str] = PROGRAM
    ) -> None:
        self._folder = folder
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
            training = self._next()
            if training is None:
                if until():
                    return
                self._over.wait(POLL_SECONDS)
                continue
            with self._lock() as lock:
                if lock is not None:
                    self._train(training, lock)

    def _beat(self) -> None:
        """Show now and then that this trainer lives."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            try:
                self._folder.beat()
            except OSError as error:
                logger.warning("folder of trainings cannot be written", error=str(error))
            self._beaten = time.monotonic()

    def _next(self) -> Training | None:
        """One that runs, else the oldest of the client that has waited longest since its last one."""
        trainings = [(training, self._folder.standing(training.id)) for training in self._folder.all()]
        last: dict[str, float] = {}
        for training, standing in trainings:
            last[training.client] = max(last.get(training.client, 0.0), standing.started or 0.0)
        open_ones = [each for each in trainings if each[1].state not in ENDED]
        turn = sorted(open_ones, key=lambda each: (each[1].state != "running", last[each[0].client], each[0].created))
        return turn[0][0] if turn else None

    @contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The lock of the folder as a file descriptor; None after a moment, while another has it."""
        descriptor = os.open(self._folder.root / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._over.wait(POLL_SECONDS)
            yield None
        else:
            yield descriptor
        finally:
            os.close(descriptor)

    def _train(self, training: Training, lock: int) -> None:
        before = self._folder.standing(training.id)
        standing = Standing("running", before.started or time.time(), found=before.found, begun=before.begun + 1)

        def note_found(report: Mapping[str, Any]) -> None:
            nonlocal standing
            standing = replace(standing, found=report)
            self._folder.note(training.id, standing)

        try:
            if before.begun >= MAX_BEGUN:
                detail = f"it was begun {before.begun} times, and each time took its trainer down with it"
                self._end(training, replace(standing, state="failed", ended=time.time(), detail=detail))
                return
            self._folder.note(training.id, standing)
            logger.info("training started", training=training.id, model=training.name)
            end = TrainingRun(
                self._folder,
                training,
                self._models_dir,
                self._bounds,
                lock,
                self._program,
                self._over,
                self._beat,
                note_found,
            ).run()
            if end.stopped:
                self._leave(training, replace(standing, begun=before.begun))
            else:
                self._end(training, self._outcome(training, standing, end))
        except OSError as error:  # removed meanwhile, or the disk is full
            logger.warning("training not recorded", training=training.id, error=str(error))
            self._over.wait(POLL_SECONDS)

    def _leave(self, training: Training, standing: Standing) -> None:
        """Leave a training to the next trainer, or to nobody if it was removed."""
        if self._folder.find(training.id) is None:
            self._folder.remove(training.id)
        else:
            self._folder.note(training.id, standing)

    def _end(self, training: Training, standing: Standing) -> None:
        try:
            self._folder.note(training.id, standing)
        except OSError:  # a full disk has room for the note without the pictures
            self._folder.clear(training.id)
            self._folder.note(training.id, standing)
        self._folder.clear(training.id)

    def _outcome(self, training: Training, running: Standing, end: End) -> Standing:
        run = self._folder.path(training.id) / RUN / training.name

        def ended(state: Any, detail: str, figures: dict[str, Any] | None = None) -> Standing:
            return replace(running, state=state, ended=time.time(), detail=detail, figures=figures)

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
