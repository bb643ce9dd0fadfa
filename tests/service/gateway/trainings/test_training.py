"""The folder of trainings, as several processes share it."""

import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx

from lexiseg_service.gateway.trainings.training import RESERVED, Standing, Training, TrainingFolder
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON

# Takes each of twenty names, unless another process has it, and prints those that it took.
TAKER = """
import sys
from pathlib import Path
from lexiseg_service.gateway.trainings.training import Training, TrainingFolder
folder = TrainingFolder(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    def check(unended, ended):
        if f"model-{number}" in {each.name for each in unended}:
            raise KeyError(number)
    try:
        with folder.reserved(Training(f"{sys.argv[2]}-{number}", "", f"model-{number}", "tiny", 1.0), check):
            print(number, flush=True)
    except KeyError:
        pass
"""


def test_two_gateways_take_one_name_once(tmp_path: Path) -> None:
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", TAKER, tmp_path, str(taker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for taker in range(3)
    ]
    for process in takers:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    taken = Counter(name for process in takers for name in process.communicate("go\n", timeout=60)[0].split())

    assert taken == Counter(map(str, range(20)))
    assert len(TrainingFolder(tmp_path).all()) == 20


def test_a_training_whose_archive_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with suppress(OSError), TrainingFolder(tmp_path).reserved(Training("a", "", "mine", "tiny", 1.0), lambda *_: None):
        assert [path.name for path in (tmp_path / "a").iterdir()] == [RESERVED]
        raise OSError("the disk is full")

    assert [path.name for path in tmp_path.iterdir()] == [".admission"]


def test_one_that_is_being_written_counts_and_is_not_swept(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    seen: list[list[str]] = []

    with folder.reserved(Training("a", "", "first", "tiny", 1.0), lambda *_: None):
        folder.sweep(before=2.0)
        with folder.reserved(
            Training("b", "", "second", "tiny", 1.0), lambda unended, _: seen.append([each.name for each in unended])
        ):
            pass

    assert seen == [["first"]]
    assert sorted(each.name for each in folder.all()) == ["first", "second"]


def test_one_that_has_expired_is_gone_before_it_is_swept(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    with (
        on_ports(KnownBackend(), trainings=tmp_path) as ports,
        httpx.Client(base_url=ports.url, timeout=SOON) as client,
    ):
        with folder.reserved(Training("a", "", "mine", "tiny", 1.0), lambda *_: None):
            pass
        assert client.get("/v1/trainings/a").status_code == 200
        folder.note("a", Standing("done", started=1.0, ended=2.0))
        answers = [client.get(f"/v1/trainings/a{route}") for route in ("", "/log")]
        listed = client.get("/v1/trainings").json()

    assert ([answer.status_code for answer in answers], listed) == ([404, 404], {"trainings": []})
