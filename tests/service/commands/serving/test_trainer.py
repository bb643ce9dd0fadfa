"""The trainer: one training at a time, published if it gains, resumed after a kill, ended when it is removed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lexiseg_service.commands.serving import serve, trainer
from lexiseg_service.commands.serving.trainer import WITHHELD, Bounds, ClientLog, Trainer
from lexiseg_service.errors import InvalidValue
from lexiseg_service.gateway.trainings.training import UNENDED, Training, TrainingStore
from lexiseg_service.gateway.uploaded_archive import without_paths
from lexiseg_service.settings import Settings
from tests.model.files.test_sandbox import LANDLOCK
from tests.waiting import until

# In the place of `lexiseg`: its importer makes a folder, its `train finetune` does what its start is called.
STAND_IN = """
import json, os, pathlib, sys, time
if sys.argv[1] == "data":
    assert open(sys.argv[3]).read() == "a zip"
    if sys.argv[4] != "--dry-run":
        os.mkdir(sys.argv[4])
    pathlib.Path(sys.argv[6]).write_text(json.dumps({"layout": "COCO"}))
    sys.exit(0)
start, values = sys.argv[4], dict(word.split("=", 1) for word in sys.argv[5:])
out = pathlib.Path(values["out"])
out.mkdir(parents=True, exist_ok=True)
print(f"started {len(list(out.glob('began-*')))}", flush=True)
(out / f"began-{time.time_ns()}").touch()
if start == "fails":
    sys.exit("two classes need more than one picture")
if start == "is-faulty":
    data = pathlib.Path(values["data"]).absolute()
    where = f"{data}/masks/a.png"
    out = out.absolute()
    sys.exit(f"lexiseg: {data} has 1 faulty picture:\\n  {where}: is 40 x 30; expected one size\\n  {out}/a.pt")
if start == "attacks":
    secret = values["models_dir"] + "/../secret"
    for path in ("/etc/passwd", f"/proc/{os.getppid()}/environ", "/proc/1/environ", secret):
        try:
            print(open(path).read())
        except OSError as error:
            print(f"{type(error).__name__} of {path}")
    print(open("/proc/self/environ").read().replace("\\0", "\\n"), dict(os.environ))
    sys.exit(3)
if start == "raises":
    print("before")
    open(values["models_dir"] + "/no-such-file")
if start == "bomb":
    hoard = bytearray(4 << 30)
if start == "stays":
    time.sleep(600)
while start == "waits" and not (out / "go").exists():
    time.sleep(0.01)
(out / "card.yaml").write_text("name: mine")
(out / "laid-out").mkdir(exist_ok=True)
step = 0 if start in ("gains-nothing", "labels") else 0.5
before = {"miou": 98.09 if start == "labels" else 21.77}
change = {"measure": "mIoU", "difference": -9.56, "low": -23.81, "high": 8.36}
(out / "before-after.json").write_text(json.dumps({"step": step, "before": before, "after": {}, "changes": [change]}))
"""
PROGRAM = (sys.executable, "-c", STAND_IN)
BOUNDS = Bounds(seconds=60.0, memory_bytes=2**30)
FAULTY = "the archive has 1 faulty picture:\n  masks/a.png: is 40 x 30; expected one size\n  run/model-is-faulty/a.pt"


class Workshop:
    """A folder of trainings and one of models."""

    def __init__(self, place: Path) -> None:
        self.models = place / "models"
        self.models.mkdir()
        self.store = TrainingStore(place / "trainings")

    def add(self, identity: str, start: str, created: float = 1.0, client: str = "", *, dry_run: bool = False) -> None:
        training = Training(identity, "", f"model-{identity}", start, created, client, dry_run=dry_run)
        self.store.add(training, lambda *_: None)
        self.store.path(identity).mkdir()
        (self.store.path(identity) / "archive.zip").write_text("a zip")
        self.store.complete(identity)

    def trainer(self, bounds: Bounds = BOUNDS) -> Trainer:
        return Trainer(self.store, self.models, bounds, PROGRAM)

    def work(self, bounds: Bounds = BOUNDS) -> None:
        """Until every training has ended."""
        self.trainer(bounds).work(until=lambda: True)

    def training(self, identity: str) -> Training:
        training = self.store.read(identity)
        assert training is not None
        return training

    def run_of(self, identity: str) -> Path:
        return self.store.path(identity) / "run" / f"model-{identity}"


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(trainer, "POLL_SECONDS", 0.02)
    return Workshop(tmp_path)


@contextmanager
def working(workshop: Workshop) -> Iterator[Trainer]:
    trainer = workshop.trainer()
    thread = threading.Thread(target=trainer.work)
    thread.start()
    try:
        yield trainer
    finally:
        trainer.stop()
        thread.join()


def test_a_dry_run_says_what_the_archive_holds_and_trains_nothing(workshop: Workshop) -> None:
    workshop.add("a", "gains", dry_run=True)

    workshop.work()

    training = workshop.training("a")
    assert (training.state, training.import_report) == ("done", {"layout": "COCO"})
    assert "nothing was trained" in (training.detail or "")
    assert not (workshop.models / "model-a").exists()
    assert not workshop.run_of("a").exists()


def test_a_model_that_gains_is_published_without_what_only_the_training_needs(workshop: Workshop) -> None:
    workshop.add("a", "gains")

    workshop.work()

    training = workshop.training("a")
    assert (training.state, training.figures and training.figures["step"]) == ("done", 0.5)
    assert (workshop.models / "model-a/card.yaml").read_text() == "name: mine"
    assert not (workshop.models / "model-a/laid-out").exists()
    assert b"started 0" in workshop.store.log("a").read_bytes()
    assert {path.name for path in workshop.store.path("a").iterdir()} == {"log.txt", "output.txt"}


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        ("gains-nothing", "Label more pictures of each class, or use the head."),
        ("labels", "A head of labels gives these labels itself (mIoU 98.1): correct what is wrong in them."),
    ],
)
def test_a_model_that_gains_nothing_is_refused(workshop: Workshop, start: str, advice: str) -> None:
    workshop.add("a", start)

    workshop.work()

    training = workshop.training("a")
    assert (training.state, training.detail) == (
        "refused",
        f"It gained nothing over a head alone on pictures that it was not trained on, so {start} stays "
        f"(mIoU -9.6, 95 % -23.8 to +8.4). {advice}",
    )
    assert list(workshop.models.iterdir()) == []


@pytest.mark.parametrize("first", ["record", "files"])  # as on a full disk
def test_a_training_that_is_removed_ends(workshop: Workshop, first: str) -> None:
    workshop.add("a", "waits")
    with working(workshop):
        until(lambda: list(workshop.run_of("a").glob("began-*")))
        if first == "files":
            shutil.rmtree(workshop.store.path("a"))
            until(lambda: workshop.training("a").state not in UNENDED)
        workshop.store.remove("a")
        workshop.add("b", "gains")
        until(lambda: workshop.training("b").state not in UNENDED)

    assert not workshop.store.path("a").exists()
    assert [path.name for path in workshop.models.iterdir()] == ["model-b"]


def test_a_trainer_that_is_stopped_leaves_the_training_to_the_next(workshop: Workshop) -> None:
    workshop.add("a", "waits")
    with working(workshop):
        until(lambda: list(workshop.run_of("a").glob("began-*")))
    assert workshop.training("a").state == "running"
    (workshop.run_of("a") / "go").touch()

    workshop.work()

    assert workshop.training("a").state == "done"
    assert b"started 1" in workshop.store.log("a").read_bytes()


def test_a_second_trainer_waits_for_the_training_of_one_that_was_killed(workshop: Workshop) -> None:
    workshop.add("a", "waits")
    program = (
        "from pathlib import Path; from lexiseg_service.commands.serving.trainer import Trainer; "
        "from lexiseg_service.commands.serving.trainer import Bounds; "
        "from lexiseg_service.gateway.trainings.training import TrainingStore; import sys; "
        "program = (sys.executable, '-c', sys.argv[3]); "
        "Trainer(TrainingStore(Path(sys.argv[1])), Path(sys.argv[2]), Bounds(60.0, 2**30), program).work()"
    )
    places = map(str, (workshop.store.root, workshop.models, STAND_IN))
    first = subprocess.Popen([sys.executable, "-c", program, *places])
    until(lambda: list(workshop.run_of("a").glob("began-*")))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    with working(workshop):
        (workshop.run_of("a") / "go").touch()
        until(lambda: workshop.training("a").state not in UNENDED)

    assert workshop.training("a").state == "done"
    assert json.loads((workshop.models / "model-a/before-after.json").read_text())["step"] == 0.5


def test_a_training_sees_neither_the_machine_nor_its_secrets(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEXISEG_REDIS_URL", "redis://:password@localhost/0")
    (tmp_path / "secret").write_text("a file beside the models")
    workshop.add("a", "attacks")

    workshop.work()

    shown = workshop.store.log("a").read_text() + str(workshop.training("a").detail)
    assert workshop.training("a").state == "failed"
    assert "password" not in shown
    for path in (tmp_path, Path(sys.prefix), Path.home()):
        assert f"{path}/" not in shown
    if LANDLOCK >= 1:
        assert len(re.findall("(PermissionError|FileNotFoundError) of", shown)) == 4
        assert "a file beside the models" not in shown


REASONS = {
    "fails": "two classes need more than one picture",
    "is-faulty": FAULTY,
    "bomb": "it needs more than 1.0 GiB of memory, the limit",
    "raises": WITHHELD,
}


def test_a_training_that_fails_says_why_without_paths_of_the_server_and_the_next_goes_on(workshop: Workshop) -> None:
    for created, start in enumerate((*REASONS, "gains"), 1):
        workshop.add(start, start, created)

    workshop.work()

    failed = [workshop.training(start) for start in REASONS]
    assert {training.id: training.detail for training in failed} == REASONS
    assert {(training.state, str(training.import_report)) for training in failed} == {("failed", "{'layout': 'COCO'}")}
    assert workshop.training("gains").state == "done"


def test_a_training_that_does_not_end_is_ended(workshop: Workshop) -> None:
    workshop.add("a", "stays")

    workshop.work(Bounds(2.0, 2**30))

    training = workshop.training("a")
    assert training.state == "failed"
    assert training.detail == "it did not end within 2 s, the limit (LEXISEG_TRAINING_SECONDS)"


def test_clients_take_turns(workshop: Workshop) -> None:
    for number, identity in enumerate(("a", "b", "c")):
        workshop.add(identity, "gains", created=float(number), client="key:ann")
    workshop.add("d", "gains", created=9.0, client="key:bob")

    workshop.work()

    begun = {identity: workshop.training(identity).started or 0.0 for identity in "abcd"}
    assert sorted(begun, key=begun.__getitem__) == ["a", "d", "b", "c"]


def test_a_training_that_takes_its_trainer_down_is_not_begun_for_ever(workshop: Workshop) -> None:
    workshop.add("a", "gains")
    workshop.store.update("a", state="running", attempts=3)

    workshop.work()

    assert workshop.training("a").state == "failed"


def test_a_model_of_another_is_not_taken_for_the_one_that_was_trained(workshop: Workshop) -> None:
    workshop.add("a", "gains")
    (workshop.models / "model-a").mkdir()

    workshop.work()

    training = workshop.training("a")
    assert (training.state, training.detail) == ("failed", "another model has the name model-a by now")


def test_a_trainer_without_training_installed_is_refused_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "entry_points_of", lambda group: {})

    for start in (trainer.run, serve.run):
        with pytest.raises(InvalidValue, match="lexiseg-train beside it"):
            start(Settings(trainings=tmp_path / "trainings", models_dir=tmp_path / "models"))


PLACE = Path("/srv/state of clients/trainings/3f2504")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"{PLACE}/archive.zip is damaged", "the archive is damaged"),
        (f"{PLACE}/imported/images/a b.png: no mask", "images/a b.png: no mask"),
        (f"{PLACE}/imported/train/masks/1.png", "train/masks/1.png"),
        (f"{PLACE}/run/mine/weights.pt", "run/mine/weights.pt"),
        ("No such file: '/srv/secret folder/other.json'", "No such file: '…/other.json'"),
        ('File "/usr/lib/python3.11/json/decoder.py", line 3', 'File "…/decoder.py", line 3'),
        ("PATH=/usr/bin:/usr/local/bin", "PATH=…/bin:…/bin"),
        ("file:///srv/other/a.png", "…/a.png"),
        ("see http://localhost:8000/docs/a and 3/4 of them", "see http://localhost:8000/docs/a and 3/4 of them"),
        ("a\x1b[31mred", "a\ufffd[31mred"),
    ],
)
def test_paths_of_the_machine_are_cut_short(line: str, shown: str) -> None:
    assert without_paths(line, PLACE) == shown


@pytest.fixture
def log(tmp_path: Path) -> ClientLog:
    (tmp_path / "output.txt").touch()
    return ClientLog(tmp_path / "output.txt", tmp_path / "log.txt", tmp_path)


def test_whole_lines_are_shown_as_they_come(log: ClientLog, tmp_path: Path) -> None:
    with (tmp_path / "output.txt").open("a") as output:
        for text, shown in (("one\ntw", "one\n"), ("o\n", "one\ntwo\n")):
            output.write(text)
            output.flush()
            log.follow()
            assert (tmp_path / "log.txt").read_text() == shown


def test_a_traceback_is_withheld_with_what_follows_until_the_next_command(log: ClientLog, tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    output.write_text("before\nTraceback (most recent call last):\n  File x\nKeyError: 'password'\nroot:x:0\n")
    log.begin()
    with output.open("a") as file:
        file.write("after")
    log.follow(ended=True)

    assert (tmp_path / "log.txt").read_text() == f"before\n{WITHHELD}\nafter\n"


def test_a_line_without_end_is_cut_and_no_part_of_its_rest_is_shown(log: ClientLog, tmp_path: Path) -> None:
    (tmp_path / "output.txt").write_text("a" * 15_000 + "/srv/secret/a.png" + "\nnext\n")

    log.follow()

    assert (tmp_path / "log.txt").read_text() == "a" * 10_000 + "\nnext\n"
