"""`lexiseg trainer`: work on trainings one after the other, each in a sandbox of its own.

    next client -> its oldest training -> archive.zip -> `lexiseg data import` -> imported/ -> `lexiseg train finetune`
    -> run/NAME/ -> better than its start? -> model directory

Both commands read a stranger's files, so both run with few variables, bounded memory, time and files, and no path but
their own. One trainer at a time has the lock of the folder. The training inherits it: where a trainer was killed, the
next one waits until the training that it left behind has ended, and then resumes it from its checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from lexiseg_model.command_line.signals import on_signals
from lexiseg_model.files import sandbox
from lexiseg_model.files.sandbox import Limits, Sandbox
from lexiseg_service.commands.options import variable
from lexiseg_service.entry_points import COMMANDS, entry_points_of
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.trainings.training import UNENDED, State, Training, TrainingStore
from lexiseg_service.gateway.uploaded_archive import ARCHIVE_FILE, IMPORT, IMPORTED, PROGRAM, without_paths
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
POLL_SECONDS = 0.5
STOP_SECONDS = 120.0  # for a checkpoint
SCRATCH, RUN, REPORT = "scratch", "run", "found.json"
GIB = 2**30
MAX_FILE_BYTES = 16 * GIB  # of a checkpoint or a pack of pictures
MAX_OUTPUT_BYTES = 2**24  # of what a training prints
# Where models are found, in addition to `models_dir`.
MODEL_VARIABLES = ("LEXISEG_TEXT_TOWER", "HF_HOME", "HF_HUB_OFFLINE")
ERROR = "lexiseg: "  # before what the command line says of an error
MAX_REASON = 500  # characters
MAX_REPORT_BYTES = 2**20  # of what the importer found
MAX_LINE = 10_000  # bytes; the rest of a line is left out
WITHHELD = "it failed by an error of its own; the operator finds it in the output of this training"
TRACEBACK = "Traceback (most recent call last):"


class End(NamedTuple):
    """How a training ended; `failure` is a reason for its client."""

    failure: str | None = None
    stopped: bool = False  # by the trainer or by its removal: it may be begun again


class Bounds(NamedTuple):
    """Of one training: memory of each process, and seconds until it is ended."""

    seconds: float
    memory_bytes: int


class TrainingRun:
    """Runs one training of a trainer; its processes inherit the lock, a file descriptor."""

    def __init__(self, trainer: Trainer, training: Training, lock: int) -> None:
        self._trainer = trainer
        self._training = training
        self._store = trainer.store
        self._place = self._store.path(training.id).absolute()
        self._models_dir = trainer.models_dir.absolute()
        self._lock = lock
        self._output = self._store.output(training.id)
        self._log_path = self._store.log(training.id)
        self._output.touch(mode=0o600)
        self._log = ClientLog(self._output, self._log_path, self._place)

    def run(self) -> End:
        """Import, unless that is done, and train. Raises OSError: the disk is full, or the folder is gone."""
        if not (self._place / IMPORTED).exists():
            end = self._import()
            if end != End() or self._training.dry_run:
                return end
        # Relative: the card of the model names them.
        run = Path(RUN) / self._training.name
        for folder in (self._place / RUN, self._place / SCRATCH):
            folder.mkdir(exist_ok=True)
        values = {"data": IMPORTED, "out": run, "models_dir": self._models_dir}
        words = [f"{name}={value}" for name, value in values.items()]
        command = ["train", "finetune", "--start", self._training.start, *words]
        seconds, memory_bytes = self._trainer.bounds
        cores = os.cpu_count() or 1
        return self._command(command, Limits(seconds, int(seconds * cores) + 1, memory_bytes, MAX_FILE_BYTES))

    def _import(self) -> End:
        scratch = self._place / SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        draft, report = scratch / IMPORTED, scratch / REPORT
        target = "--dry-run" if self._training.dry_run else str(draft)
        words = ["data", "import", str(self._place / ARCHIVE_FILE), target, "--json", str(report)]
        seconds, memory_bytes = map(min, (IMPORT.seconds, IMPORT.memory_bytes), self._trainer.bounds)
        end = self._command(words, replace(IMPORT, seconds=seconds, memory_bytes=int(memory_bytes)))
        if (content := read_report(report, MAX_REPORT_BYTES)) is not None:
            self._store.update(self._training.id, import_report=content)
        if end == End() and not self._training.dry_run:
            os.rename(draft, self._place / IMPORTED)
        return end

    def _command(self, words: Sequence[str], limits: Limits) -> End:
        self._log.begin()
        with self._output.open("ab") as output:
            process = self._sandbox(limits).start([*self._trainer.program, *words], output, [self._lock])
        deadline = time.monotonic() + limits.seconds
        failure = None
        try:
            while process.poll() is None and failure is None:
                self._trainer.beat()
                self._log.follow()
                if self._trainer.over.wait(POLL_SECONDS) or self._is_removed:
                    break
                failure = self._excess(deadline, limits)
        finally:  # its files may be gone before its record
            sandbox.end_process(process, STOP_SECONDS if self._trainer.over.is_set() else 0.0)
        if self._trainer.over.is_set() or self._is_removed:
            return End(stopped=True)
        self._log.follow(ended=True)
        return End(failure or self._failure(process.returncode, limits))

    @property
    def _is_removed(self) -> bool:
        try:
            return self._store.read(self._training.id) is None
        except StoreAway:
            return False

    def _sandbox(self, limits: Limits) -> Sandbox:
        scratch = self._place / SCRATCH
        variables = {name: os.environ[name] for name in MODEL_VARIABLES if name in os.environ}
        models = [self._models_dir, *(Path(value) for name, value in variables.items() if name != "HF_HUB_OFFLINE")]
        folders = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR"), str(scratch))
        writable = [path for path in (scratch, self._place / RUN) if path.exists()]
        return Sandbox(self._place, [self._place, *models], writable, limits, folders | {"USER": "trainer"} | variables)

    def _excess(self, deadline: float, limits: Limits) -> str | None:
        """What of its bounds a running command has passed, besides the ones that the kernel keeps."""
        if time.monotonic() > deadline:
            return f"it did not end within {limits.seconds:,.0f} s, the limit ({variable('training_seconds')})"
        if self._output.stat().st_size > MAX_OUTPUT_BYTES:
            return f"it printed more than {MAX_OUTPUT_BYTES:,} bytes, the limit"
        return None

    def _failure(self, status: int, limits: Limits) -> str | None:
        if status == 0:
            return None
        if -status in (signal.SIGXCPU, signal.SIGKILL):
            return f"it was ended: {limits.cpu_seconds:,} s of a processor are its limit, or the machine had no memory"
        if self._lacked_memory():
            return f"it needs more than {limits.memory_bytes / GIB:.1f} GiB of memory, the limit"
        return self._reason() or f"it ended with status {status}"

    def _lacked_memory(self) -> bool:
        with self._output.open("rb") as output:
            output.seek(max(0, output.seek(0, 2) - 1000))
            last = output.read().decode(errors="replace").rstrip().rpartition("\n")[2]
        return "MemoryError" in last or "can't allocate memory" in last

    def _reason(self) -> str:
        """The error that it ended with, else its last line, as the log has it."""
        log = "\n" + self._log_path.read_text(errors="replace").rstrip()
        _, is_error, error = log.rpartition(f"\n{ERROR}")
        text = error if is_error and not log.endswith(WITHHELD) else log.rpartition("\n")[2]
        return text.strip()[:MAX_REASON]


class ClientLog:
    """Copies the lines of an output file into a log for clients, as they come, without paths of the machine.

    A traceback, and what follows it, is withheld: it quotes values and our own files. Operators find it in the output.
    """

    def __init__(self, output: Path, log: Path, folder: Path) -> None:
        self._output = output
        self._log = log
        self._folder = folder
        self._position = 0
        self._withholds = False
        self._is_long = False
        log.write_bytes(b"")

    def begin(self) -> None:
        """Go on with another command and show its output again."""
        self.follow(ended=True)
        self._withholds = False

    def follow(self, *, ended: bool = False) -> None:
        """Copy whole lines that are new; when the output has `ended`, the last line, too."""
        with self._output.open("rb") as output, self._log.open("ab") as log:
            output.seek(self._position)
            while line := output.readline(MAX_LINE):
                is_whole = line.endswith(b"\n")
                if not is_whole and len(line) < MAX_LINE and not ended:
                    return
                self._position = output.tell()
                if not self._is_long:
                    log.write(self._public_line(line.decode(errors="replace").rstrip("\r\n")))
                self._is_long = not is_whole and len(line) == MAX_LINE

    def _public_line(self, line: str) -> bytes:
        if self._withholds:
            return b""
        self._withholds = line.startswith(TRACEBACK)
        text = WITHHELD if self._withholds else without_paths(line, self._folder)
        return f"{text}\n".encode()


def read_report(path: Path, max_bytes: int) -> dict[str, Any] | None:
    """A JSON object that a training wrote; None for a link, a larger file, or anything else."""
    try:
        if path.is_symlink() or path.stat().st_size > max_bytes:
            return None
        report = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def check(settings: Settings) -> None:
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
    bounds = Bounds(settings.training_seconds, settings.training_memory_bytes)
    trainer = Trainer(TrainingStore(settings.trainings), settings.models_dir, bounds)
    with on_signals(trainer.stop, signal.SIGTERM, signal.SIGINT):
        trainer.work()
    return 0


class Trainer:
    """Works on the trainings of a folder."""

    def __init__(
        self, store: TrainingStore, models_dir: Path, bounds: Bounds, program: Sequence[str] = PROGRAM
    ) -> None:
        self.store = store
        self.models_dir = models_dir
        self.bounds = bounds
        self.program = program
        self.over = threading.Event()
        self._beaten = float("-inf")

    def stop(self, *_: object) -> None:
        self.over.set()

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        """Take trainings until `stop`, or until there is none and `until()` holds."""
        while not self.over.is_set():
            self.beat()
            try:
                training = self._next()
                if training is not None:
                    with self.store.locked() as lock:
                        if lock is not None:
                            self._train(training, lock)
                            continue
                elif until():
                    return
            except (OSError, StoreAway) as error:  # the disk is full
                logger.warning("training not recorded", error=str(error))
            self.over.wait(POLL_SECONDS)

    def beat(self) -> None:
        """Show now and then that this trainer lives."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            try:
                self.store.beat()
            except StoreAway as error:
                logger.warning("folder of trainings cannot be written", error=str(error))
            self._beaten = time.monotonic()

    def _next(self) -> Training | None:
        """One that runs, else the oldest of the client that has waited longest since its last one."""
        trainings = self.store.all()
        last: dict[str, float] = {}
        for training in trainings:
            last[training.client] = max(last.get(training.client, 0.0), training.started or 0.0)
        unended = [training for training in trainings if training.state in UNENDED]
        return min(unended, key=lambda each: (each.state != "running", last[each.client], each.created), default=None)

    def _train(self, training: Training, lock: int) -> None:
        attempts = training.attempts
        if attempts >= MAX_ATTEMPTS:
            detail = f"it was begun {attempts} times, and each time took its trainer down with it"
            self._end(training, {"state": "failed", "detail": detail})
            return
        started = training.started or time.time()
        if self.store.update(training.id, state="running", started=started, attempts=attempts + 1) is None:
            return  # removed meanwhile
        logger.info("training started", training=training.id, model=training.name)
        end = TrainingRun(self, training, lock).run()
        if not end.stopped:
            self._end(training, self._outcome(training, end))
        elif self.store.update(training.id, attempts=attempts) is None:
            self.store.remove(training.id)

    def _end(self, training: Training, outcome: Mapping[str, Any]) -> None:
        record = partial(self.store.update, training.id, ended=time.time(), nbytes=0, **outcome)
        try:
            record()
        except StoreAway:  # a full disk has room for the record without the pictures
            self.store.clear(training.id)
            record()
        self.store.clear(training.id)

    def _outcome(self, training: Training, end: End) -> dict[str, Any]:
        run = self.store.path(training.id) / RUN / training.name

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
        target = self.models_dir / name
        if target.exists():  # published before a kill, or somebody else's
            return (target / FIGURES).is_file() and (target / FIGURES).read_bytes() == (run / FIGURES).read_bytes()
        fresh = self.models_dir / f".{name}.new"
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
    before = figures["before"].get("miou") or 0.0
    if before < OWN_LABELS:
        return f"{sentence}. Label more pictures of each class, or use the head."
    itself = f"A head of {training.start} gives these labels itself ({MEASURE} {before:.1f})"
    return f"{sentence}. {itself}: correct what is wrong in them."
