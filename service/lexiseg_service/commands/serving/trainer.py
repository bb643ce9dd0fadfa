"""`lexiseg trainer`: work on trainings one after the other, each as a `lexiseg train finetune` of its own.

    oldest training without an end -> `lexiseg train finetune` -> better than its start? -> model directory

One trainer at a time has the lock of the folder. The training inherits it: where a trainer was killed, the next one
waits until the training that it left behind has ended, and then resumes it from its checkpoint.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from lexiseg_model.command_line.signals import on_signals
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.trainings.training import ENDED, PICTURES, Standing, Training, TrainingFolder
from lexiseg_service.settings import Settings
from lexiseg_service.watch import logs

logger = structlog.get_logger("lexiseg.trainer")
NICENESS = 10  # requests come first
POLL_SECONDS = 0.5
STOP_SECONDS = 120.0  # for a checkpoint
FIGURES = "before-after.json"
MEASURE = "mIoU"  # among its changes, which decides
ERROR = "lexiseg: "  # before what the command line says of an error
MAX_REASON = 500  # characters
OWN_LABELS = 90.0  # mIoU of the start, in percent, from which it has most likely written the labels itself
# Of a run, what a model directory does not need.
LEFT_BEHIND = shutil.ignore_patterns("laid-out", "samples", "packs", "checkpoints", "*.pt")
COMMAND = (sys.executable, "-m", "lexiseg_service.cli", "train", "finetune")


def run(settings: Settings) -> int:
    """Work until SIGINT or SIGTERM; a training that runs writes a checkpoint first. Returns the exit status.

    Raises:
        InvalidValue: the settings name no folder of trainings or of models.
    """
    if settings.trainings is None or settings.models_dir is None:
        missing = "LEXISEG_MODELS_DIR" if settings.trainings else "LEXISEG_TRAININGS"
        raise InvalidValue.of(missing, "", "a folder: trainings are read from one, and models written to the other")
    logs.configure(settings, "trainer")
    os.nice(NICENESS)
    settings.trainings.mkdir(parents=True, exist_ok=True)
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(TrainingFolder(settings.trainings), settings.models_dir)
    with on_signals(trainer.stop, signal.SIGTERM, signal.SIGINT):
        trainer.work()
    return 0


class Trainer:
    """Works on the trainings of a folder.

    Args:
        folder: the trainings.
        models_dir: where models go that are better than their start.
        command: starts a training; gets `--start NAME data=FOLDER out=FOLDER models_dir=FOLDER`.
    """

    def __init__(self, folder: TrainingFolder, models_dir: Path, command: tuple[str, ...] = COMMAND) -> None:
        self._folder = folder
        self._models_dir = models_dir
        self._command = command
        self._over = threading.Event()

    def stop(self, *_: object) -> None:
        """End after the current step."""
        self._over.set()

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        """Take trainings until `stop`, or until there is none and `until()` holds."""
        while not self._over.is_set():
            training = self._next()
            if training is None:
                if until():
                    return
                self._over.wait(POLL_SECONDS)
                continue
            with self._lock() as lock:
                if lock is not None:
                    self._train(training, lock)

    def _next(self) -> Training | None:
        return next((each for each in self._folder.all() if self._standing(each).state not in ENDED), None)

    def _standing(self, training: Training) -> Standing:
        return self._folder.standing(training.id)

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
        started = self._standing(training).started or time.time()
        try:
            self._folder.note(training.id, Standing("running", started))
            status = self._run(training, lock)
            if status is None:
                return
            self._folder.note(training.id, self._outcome(training, started, status))
        except OSError as error:  # removed meanwhile, or the disk is full
            logger.warning("training not recorded", training=training.id, error=str(error))
            self._over.wait(POLL_SECONDS)

    def _run(self, training: Training, lock: int) -> int | None:
        """The exit status of a training; None if it was stopped or removed."""
        folder = self._folder.path(training.id)
        out = folder / "run" / training.name
        places = {"data": folder / PICTURES, "out": out, "models_dir": self._models_dir}
        words = ["--start", training.start, *(f"{name}={path}" for name, path in places.items())]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        with self._folder.log(training.id).open("ab") as log:
            process = subprocess.Popen(
                [*self._command, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                pass_fds=[lock], start_new_session=True,
            )  # fmt: skip
            logger.info("training started", training=training.id, model=training.name)
            while process.poll() is None:
                if self._over.wait(POLL_SECONDS) or not (folder / "training.json").exists():
                    _end(process)
                    break
        if self._over.is_set():
            return None
        if not (folder / "training.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return process.returncode

    def _outcome(self, training: Training, started: float, status: int) -> Standing:
        run = self._folder.path(training.id) / "run" / training.name
        now = time.time()
        if status != 0:
            return Standing("failed", started, now, self._reason(training) or f"it ended with status {status}")
        try:
            figures: dict[str, Any] = json.loads((run / FIGURES).read_bytes())
        except (OSError, ValueError):
            return Standing("failed", started, now, self._reason(training) or "it wrote no figures")
        if not figures.get("step"):
            return Standing("refused", started, now, _refusal(training, figures), figures)
        self._publish(run, training.name)
        logger.info("model published", training=training.id, model=training.name)
        return Standing("done", started, now, f"The model {training.name} is in the list.", figures)

    def _publish(self, run: Path, name: str) -> None:
        """Move a model directory to those that are served, whole or not at all."""
        fresh = self._models_dir / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(run, fresh, ignore=LEFT_BEHIND)
        target = self._models_dir / name
        if target.exists():  # published before a kill, or somebody else's
            shutil.rmtree(fresh)
            return
        os.rename(fresh, target)

    def _reason(self, training: Training) -> str:
        """The error that a training ended with, else its last line; pictures by their names in the archive."""
        log = "\n" + self._folder.log(training.id).read_text(errors="replace").rstrip()
        _, is_error, error = log.rpartition(f"\n{ERROR}")
        text = error if is_error else log.rpartition("\n")[2]
        folder = self._folder.path(training.id)
        for path, name in ((f"{folder / PICTURES}/", ""), (str(folder / PICTURES), "the archive"), (f"{folder}/", "")):
            text = text.replace(path, name)
        return text.strip()[:MAX_REASON]


def _refusal(training: Training, figures: Mapping[str, Any]) -> str:
    """Why a training is refused, with the change of the measure that decides, and what to do."""
    sentence = f"It gained nothing certain on pictures that it was not trained on, so {training.start} stays"
    change = next((each for each in figures.get("changes", ()) if each["measure"] == MEASURE), None)
    if change is not None and change["low"] is not None:
        sentence += f" ({MEASURE} {change['difference']:+.1f}, 95 % {change['low']:+.1f} to {change['high']:+.1f})"
    return f"{sentence}. {_advice(training, figures)}"


def _advice(training: Training, figures: Mapping[str, Any]) -> str:
    before = figures["before"].get("miou") or 0.0
    if before >= OWN_LABELS:
        return f"{training.start} gives these labels itself ({MEASURE} {before:.1f}): correct what is wrong in them."
    return "Label more pictures of each class, or train on fewer classes."


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a training write its checkpoint; one that does not end is killed."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
