"""The trainer: one training at a time, published if it gains, resumed after a kill, ended when it is removed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lexiseg_service.commands.serving.trainer import Trainer
from lexiseg_service.gateway.trainings.training import ENDED, Standing, Training, TrainingFolder
from tests.waiting import until

# In the place of `lexiseg train finetune`: does what its start is called.
STAND_IN = """
import json, pathlib, sys, time
start, values = sys.argv[2], dict(word.split("=", 1) for word in sys.argv[3:])
out = pathlib.Path(values["out"])
out.mkdir(parents=True, exist_ok=True)
print(f"started {len(list(out.glob('began-*')))}", flush=True)
(out / f"began-{time.time_ns()}").touch()
if start == "fails":
    sys.exit("two classes need more than one picture")
if start == "is-faulty":
    data = values["data"]
    where = f"{data}/masks/a.png"
    sys.exit(f"lexiseg: {data} has 1 faulty picture:\\n  {where}: is 40 x 30; expected one size\\n  {out}/a.pt")
while start == "waits" and not (out / "go").exists():
    time.sleep(0.01)
(out / "card.yaml").write_text("name: mine")
(out / "laid-out").mkdir(exist_ok=True)
step = 0 if start in ("gains-nothing", "labels") else 0.5
before = {"miou": 98.09 if start == "labels" else 21.77}
change = {"measure": "mIoU", "difference": -9.56, "low": -23.81, "high": 8.36}
(out / "before-after.json").write_text(json.dumps({"step": step, "before": before, "after": {}, "changes": [change]}))
"""


class Workshop:
    """A folder of trainings and one of models."""

    def __init__(self, place: Path) -> None:
        self.script = place / "finetune.py"
        self.script.write_text(STAND_IN)
        self.models = place / "models"
        self.models.mkdir()
        self.folder = TrainingFolder(place / "trainings")
        self.folder.root.mkdir()

    def add(self, identity: str, start: str, created: float = 1.0) -> None:
        (self.folder.path(identity) / "pictures").mkdir(parents=True)
        self.folder.add(Training(identity, "", f"model-{identity}", start, created))

    def trainer(self) -> Trainer:
        return Trainer(self.folder, self.models, (sys.executable, str(self.script)))

    def work(self) -> None:
        """Until every training has ended."""
        self.trainer().work(until=lambda: True)

    def standing(self, identity: str) -> Standing:
        return self.folder.standing(identity)

    def run_of(self, identity: str) -> Path:
        return self.folder.path(identity) / "run" / f"model-{identity}"


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
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


def test_a_model_that_gains_is_published_without_what_only_the_training_needs(workshop: Workshop) -> None:
    workshop.add("a", "gains")

    workshop.work()

    standing = workshop.standing("a")
    assert (standing.state, standing.figures and standing.figures["step"]) == ("done", 0.5)
    assert (workshop.models / "model-a/card.yaml").read_text() == "name: mine"
    assert not (workshop.models / "model-a/laid-out").exists()
    assert b"started 0" in workshop.folder.log("a").read_bytes()


@pytest.mark.parametrize(
    ("start", "advice"),
    [
        ("gains-nothing", "Label more pictures of each class, or train on fewer classes."),
        ("labels", "labels gives these labels itself (mIoU 98.1): correct what is wrong in them."),
    ],
)
def test_a_model_that_gains_nothing_is_refused(workshop: Workshop, start: str, advice: str) -> None:
    workshop.add("a", start)

    workshop.work()

    standing = workshop.standing("a")
    assert (standing.state, standing.detail) == (
        "refused",
        f"It gained nothing certain on pictures that it was not trained on, so {start} stays "
        f"(mIoU -9.6, 95 % -23.8 to +8.4). {advice}",
    )
    assert list(workshop.models.iterdir()) == []


def test_a_training_that_fails_says_why_and_the_next_one_goes_on(workshop: Workshop) -> None:
    workshop.add("a", "fails", created=1)
    workshop.add("b", "gains", created=2)

    workshop.work()

    failed = workshop.standing("a")
    assert (failed.state, failed.detail) == ("failed", "two classes need more than one picture")
    assert workshop.standing("b").state == "done"


def test_a_training_that_fails_shows_all_of_the_error_and_no_path_of_the_server(workshop: Workshop) -> None:
    workshop.add("a", "is-faulty")

    workshop.work()

    detail = workshop.standing("a").detail
    assert detail == (
        "the archive has 1 faulty picture:\n  masks/a.png: is 40 x 30; expected one size\n  run/model-a/a.pt"
    )


def test_a_training_that_is_removed_ends(workshop: Workshop) -> None:
    workshop.add("a", "waits")
    with working(workshop):
        until(lambda: list(workshop.run_of("a").glob("began-*")))
        workshop.folder.remove("a")
        workshop.add("b", "gains")
        until(lambda: workshop.standing("b").state in ENDED)

    assert not workshop.folder.path("a").exists()
    assert [path.name for path in workshop.models.iterdir()] == ["model-b"]


def test_a_trainer_that_is_stopped_leaves_the_training_to_the_next(workshop: Workshop) -> None:
    workshop.add("a", "waits")
    with working(workshop):
        until(lambda: list(workshop.run_of("a").glob("began-*")))
    assert workshop.standing("a").state == "running"
    (workshop.run_of("a") / "go").touch()

    workshop.work()

    assert workshop.standing("a").state == "done"
    assert b"started 1" in workshop.folder.log("a").read_bytes()


def test_a_second_trainer_waits_for_the_training_of_one_that_was_killed(workshop: Workshop) -> None:
    workshop.add("a", "waits")
    program = (
        "from pathlib import Path; from lexiseg_service.commands.serving.trainer import Trainer; "
        "from lexiseg_service.gateway.trainings.training import TrainingFolder; import sys; "
        "Trainer(TrainingFolder(Path(sys.argv[1])), Path(sys.argv[2]), (sys.executable, sys.argv[3])).work()"
    )
    places = map(str, (workshop.folder.root, workshop.models, workshop.script))
    first = subprocess.Popen([sys.executable, "-c", program, *places])
    until(lambda: list(workshop.run_of("a").glob("began-*")))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()

    with working(workshop):
        (workshop.run_of("a") / "go").touch()
        until(lambda: workshop.standing("a").state in ENDED)

    assert workshop.standing("a").state == "done"
    assert json.loads((workshop.models / "model-a/before-after.json").read_text())["step"] == 0.5
