"""The ways into the batch engine, each as a batch about the pictures of one folder whose processes can be killed."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lexiseg_labels.folder_sets import LEDGER
from lexiseg_service.batch.rows import OK
from tests.command import start
from tests.integration.batch import playing
from tests.integration.batch.killing import Patient, is_gateway, is_worker
from tests.integration.server import TO_START
from tests.redis_server import RedisServer
from tests.service.batch.bulk import jobs
from tests.service.commands.command_line import CommandLine
from tests.waiting import until

Kills = Mapping[str, Callable[[], None]]
CLASSES = ["sky", "flower"]


class OverHttp:
    """`POST /v1/jobs`, whose ledger is a SQLite file."""

    def __init__(self, here: Path, folder: Path, lexiseg: CommandLine, **settings: str) -> None:
        self._folder = folder
        self._server = Patient(here, folder, **settings)
        self.kills: Kills = {
            "gateway": lambda: self._server.kill(is_gateway),
            "worker": lambda: self._server.kill(is_worker),
        }

    def __enter__(self) -> Self:
        self._server.__enter__()
        self.job = self._created()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)

    def _created(self) -> str:
        return self._server.create(self._folder, {"classes": CLASSES})

    def go_on(self) -> None:
        pass  # its supervisor starts it

    def done(self) -> int:
        done: int = self._server.progress(self.job)["done"]
        return done

    def ended(self) -> None:
        until(lambda: self._server.progress(self.job)["state"] == "done", TO_START, self._server.process.last_lines)

    def finished(self) -> Sequence[str]:
        self.ended()
        lines = [json.loads(each) for each in self._server.ask("GET", f"/v1/jobs/{self.job}/results").text.splitlines()]
        until(self._server.ready)
        for line in lines[:: len(lines) // 4]:  # what comes after a kill is what a request gets
            self._as_alone(line)
        return [line["image"] for line in lines if line["problem"] is None]

    def _as_alone(self, line: dict[str, Any]) -> None:
        picture = (self._folder / line["image"]).read_bytes()
        form = [("image", ("a.jpg", picture)), *(("classes", (None, name)) for name in CLASSES)]
        assert line["answer"]["segments"] == self._server.ask("POST", "/v1/segment", files=form).json()["segments"]


class OverHttpWithRedis(OverHttp):
    """The same with a ledger in Redis, which is killed, too."""

    def __init__(self, here: Path, folder: Path, lexiseg: CommandLine) -> None:
        self._redis = RedisServer(here, durable=True)
        super().__init__(here, folder, lexiseg, LEXISEG_REDIS_URL=self._redis.url)
        self.kills = {"redis": self._restart_redis, "gateway": self.kills["gateway"]}

    def _restart_redis(self) -> None:
        self._redis.kill()
        self._redis.start()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._redis.kill()


class Command:
    """A command that goes on when it is given again."""

    def __init__(self, here: Path, lexiseg: CommandLine, *command: str) -> None:
        self._command = command
        self._lexiseg = lexiseg
        self._log = here / "log"
        self.kills: Kills = {"process": self._killed}

    def __enter__(self) -> Self:
        self._process: subprocess.Popen[str] = start(self._command, {}, self._log)
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._killed()

    def _killed(self) -> None:
        self._process.kill()
        self._process.communicate()

    def go_on(self) -> None:
        if self._process.poll() is not None:
            self._process = start(self._command, {}, self._log)

    def again(self) -> str:
        """The same command in this process, to its end; what it said."""
        outcome = self._lexiseg(*self._command)
        assert outcome.status == 0, outcome.err
        return outcome.out + outcome.err


class Bulk(Command):
    """`lexiseg bulk --local`."""

    EACH = 4  # rows of a file

    def __init__(self, here: Path, folder: Path, lexiseg: CommandLine) -> None:
        self._out = here / "out"
        words = [part for name in CLASSES for part in ("-c", name)]
        rows = ("--local", "--rows-per-file", str(self.EACH))
        super().__init__(here, lexiseg, "bulk", str(folder), str(self._out), *words, *rows)

    def done(self) -> int:
        return self.EACH * playing.files_of(self._out)

    def finished(self) -> Sequence[str]:
        before = self.done()
        said = self.again()
        assert f"pictures: {before:,} of " in said
        assert "none lost and none twice" in said
        return [row["id"] for row in jobs.rows(self._out) if row["status"] == OK]


class Folder(Command):
    """`lexiseg segment` over a folder; `Client.label_folder` keeps the same ledger."""

    def __init__(self, here: Path, folder: Path, lexiseg: CommandLine) -> None:
        self._out = here / "out"
        self._folder = folder
        words = [part for name in CLASSES for part in ("-c", name)]
        super().__init__(here, lexiseg, "segment", str(folder), *words, "--format", "yolo", "--out", str(self._out))

    def _ledger(self) -> list[str]:
        """A line for each image, behind that of the question; a kill may leave the last one unfinished."""
        with suppress(FileNotFoundError):
            return (self._out / LEDGER).read_text().splitlines()[1:]
        return []

    def done(self) -> int:
        return len(self._ledger())

    def finished(self) -> Sequence[str]:
        self.again()
        listed = [line for name in ("train.txt", "val.txt") for line in (self._out / name).read_text().splitlines()]
        assert len(listed) == len(set(listed)) == len(self._ledger())
        images = [json.loads(line) for line in self._ledger()]
        return [str(Path(image["source"]).relative_to(self._folder)) for image in images]


# Batches that are under way: `go_on` starts what a kill has ended, `done` counts pictures that are settled for good,
# `finished` waits for the end and gives the names of pictures with an answer, each as often as it has one.
DOORS: Mapping[str, Callable[[Path, Path, CommandLine], OverHttp | Bulk | Folder]] = {
    "jobs": OverHttp,
    "jobs-redis": OverHttpWithRedis,
    "bulk": Bulk,
    "folder": Folder,
}


def names_in(folder: Path) -> list[str]:
    """The pictures of a folder, by their paths in it."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.jpg"))]


def assert_each_once(answered: Sequence[str], folder: Path) -> None:
    """No picture is lost, none is there twice."""
    assert Counter(answered) == Counter(names_in(folder))
