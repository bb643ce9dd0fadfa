"""`lexiseg segment --server` against the real gateway over a backend of a few lines."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from lexiseg_service.question.messages import WorkerAnswer, WorkerRequest
from loadtests.ports import free_port
from tests import pictures
from tests.http_server import serving_files
from tests.service.commands.command_line import CommandLine, written
from tests.service.gateway.known_backend import KnownBackend, answer
from tests.service.gateway.serving import on_ports
from tests.waiting import SOON

OVERLAY = pictures.encoded(pictures.small("china", 32))


@dataclass
class Painter(KnownBackend):
    """Answers with a picture; what comes first waits for `first_answers_after` others to be answered.

    Knows the most that it had at a time.
    """

    first_answers_after: int = 0
    under_way: int = 0
    most: int = 0
    came: int = 0

    def __post_init__(self) -> None:
        self.turn = asyncio.Condition()

    async def segment(self, request: WorkerRequest) -> WorkerAnswer:
        self.came += 1
        is_first = self.came == 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        async with asyncio.timeout(SOON), self.turn:
            if is_first:
                await self.turn.wait_for(lambda: len(self.asked) >= self.first_answers_after)
            await super().segment(request)
            self.turn.notify_all()
        self.under_way -= 1
        return answer(overlay=OVERLAY)


@pytest.fixture(autouse=True)
def _quiet_logs() -> Iterator[None]:
    with capture_logs():
        yield


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def url(painter: Painter) -> Iterator[str]:
    with on_ports(painter) as ports:
        yield ports.url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        (tmp_path / f"{number:02}.png").write_bytes(pictures.encoded(pictures.small("china", 64 + number)))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_the_files_go_to_the_server_and_the_answers_keep_their_order(
    lexiseg: CommandLine, folder: Path, painter: Painter, url: str
) -> None:
    images = sorted(folder.glob("*.png"))
    painter.first_answers_after = 3

    outcome = lexiseg("segment", *images, "-c", "sky", "-c", "sea", "--server", f"{url}/", "--out", folder / "out")

    assert outcome.status == 0, outcome.err
    found = written(folder / "out")
    assert [image["source"] for image in found["images"]] == [str(path) for path in images]
    assert {asked.image for asked in painter.asked} == {path.read_bytes() for path in images}
    assert found["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 1, "segmentation": {"size": [4, 4], "counts": "088"}, "area": 8,
        "bbox": [0, 0, 2, 4], "iscrowd": 0, "score": 0.9123,
    }  # fmt: skip
    assert (folder / "out" / "03.png").read_bytes() == OVERLAY
    assert 2 <= painter.most <= 8


def test_a_key_is_shown_and_without_one_the_way_to_give_it_is_told(
    lexiseg: CommandLine, folder: Path, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    with on_ports(painter, api_keys=line_of("me", key)) as ports:
        words = ("segment", folder / "00.png", "-c", "sky", "--out", folder / "out", "--server", ports.url)
        without = lexiseg(*words)
        wrong = lexiseg(*words, "--api-key", "other")
        right = lexiseg(*words, "--api-key", key)
        monkeypatch.setenv("LEXISEG_API_KEY", key)
        of_the_environment = lexiseg(*words)

    for refused in (without, wrong):
        assert (refused.status, refused.err.count("\n")) == (1, 1)
        assert "LEXISEG_API_KEY or --api-key" in refused.err
    assert (right.status, of_the_environment.status) == (0, 0)
    assert painter.asked[0].owner == "me"


def test_a_server_that_is_not_there_is_one_line(lexiseg: CommandLine, folder: Path) -> None:
    port = free_port()

    outcome = lexiseg(
        "segment", folder / "00.png", "-c", "sky", "--server", f"http://127.0.0.1:{port}", "--out", folder / "out"
    )

    assert (outcome.status, outcome.err.count("\n")) == (1, 1)
    assert f"no server answers at http://127.0.0.1:{port}" in outcome.err
    assert not (folder / "out").exists()


def test_an_http_server_that_is_asked_over_grpc_is_told_with_its_address(lexiseg: CommandLine, folder: Path) -> None:
    with serving_files(folder) as url:
        target = url.removeprefix("http://")
        outcome = lexiseg("segment", folder / "00.png", "-c", "sky", "--server", target)

    said = f"lexiseg: {target} does not speak gRPC: write http://{target} for REST\n"
    assert (outcome.status, outcome.err) == (1, said)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-c", "sky", "--model", "sam"], "no 'sam' here; there is: colours"),
        (["--vocabulary", "nope"], "nope"),
        (["-c", "sky", "--api-key", "two words"], "expected printable characters without blanks, got '***'"),
    ],
)
def test_a_wrong_option_is_one_line_that_helps(
    lexiseg: CommandLine, folder: Path, url: str, options: list[str], said: str
) -> None:
    outcome = lexiseg("segment", folder / "00.png", *options, "--server", url, "--out", folder / "out")

    assert (outcome.status, outcome.err.count("\n")) == (1, 1), outcome.err
    assert said in outcome.err
