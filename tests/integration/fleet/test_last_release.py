"""Gateway and worker of the last release against those of today, both ways, as processes.

proto/released names the commit of the last release; its files come from git's history.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub
from tests.command import ROOT, ended
from tests.integration.load import PICTURE, SIDE
from tests.integration.processes import Gateway, Worker
from tests.waiting import SOON

RELEASED = ROOT / "proto/released"
SOURCES = ("model/lexiseg_model", "service/lexiseg_service", "clients/python/lexiseg_client")
FRAMES = 3
pytestmark = pytest.mark.slow
BOX = [0, 0, SIDE // 2, SIDE // 2]


class Pair(NamedTuple):
    """A gateway over one worker, of different releases."""

    gateway: Gateway
    worker: Worker


def of_last_release(folder: Path) -> str:
    """The path on which its processes find its modules; its sources are written into the folder.

    Without its commit the tests are skipped; in CI, whose clones have the history, they fail.
    """
    commit = RELEASED.read_text(encoding="ascii").strip()
    there = ended(["git", "-C", ROOT, "cat-file", "-e", f"{commit}^{{commit}}"])
    if there.returncode:
        missing = f"the last release, {commit}, is not in this clone: git fetch --unshallow ({there.stderr.strip()})"
        pytest.fail(missing) if "GITHUB_ACTIONS" in os.environ else pytest.skip(missing)
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit, *SOURCES], stdout=subprocess.PIPE, check=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    path = os.pathsep.join(str((folder / source).parent) for source in SOURCES)
    command = [sys.executable, "-c", "import lexiseg_service; print(lexiseg_service.__file__)"]
    imported = ended(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path})
    assert imported.stdout.startswith(str(folder)), imported
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    folder = tmp_path_factory.mktemp("releases")
    last = of_last_release(folder / "last")
    # All four start at once.
    workers = {"last": Worker(folder / "last-worker.jsonl", PYTHONPATH=last), "today": Worker(folder / "worker.jsonl")}
    started: list[Gateway | Worker] = list(workers.values())
    try:
        newer = Gateway(folder / "gateway.jsonl", workers["last"].address)
        started.append(newer)
        older = Gateway(folder / "last-gateway.jsonl", workers["today"].address, PYTHONPATH=last)
        started.append(older)
        yield {"today": Pair(newer, workers["last"]), "last": Pair(older, workers["today"])}
    finally:
        for process in started:
            process.stop()


@pytest.fixture(params=["today", "last"], ids=["today's gateway", "the last gateway"])
def pair(request: pytest.FixtureRequest, pairs: dict[str, Pair]) -> Pair:
    pair = pairs[request.param]
    pair.gateway.wait_for_workers(1)
    return pair


def questions(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One of each kind that a card offers."""
    words: dict[str, Any] = {"classes": ["sky", "building"]}
    of_tasks = {task: words for task in card["tasks"] if task not in ("prompt", "everything")}
    clicks = {"prompts": [{"points": [{"x": 20, "y": 20}]}, {"box": BOX}]}
    asked = {f"task {task}": {"task": task, **question} for task, question in of_tasks.items()}
    asked |= {f"task {task}": {"task": task} for task in card["tasks"] if task == "everything"}
    asked |= {f"refine {refine}": {"refine": refine, **words} for refine in card["refinements"]}
    asked |= {f"mask {mask}": {"mask": mask, "overlay": True, **words} for mask in ("rle", "polygon", "png", "none")}
    asked["clicks"] = clicks
    asked["a vocabulary"] = {"vocabulary": "voc21", "confidence": True}
    asked["examples"] = {"classes": [{"name": "this", "examples": [{"box": BOX}]}, "sky"]}
    return asked


def test_every_kind_of_question_that_a_card_offers_is_answered(pair: Pair) -> None:
    image = {"base64": base64.b64encode(PICTURE).decode()}
    with httpx.Client(base_url=f"{pair.gateway.url}/v1", timeout=SOON) as client:
        (card,) = client.get("/models").json()["models"]
        answers = {
            name: client.post("/segment", json={"image": image} | asked) for name, asked in questions(card).items()
        }
        ready = client.get(f"{pair.gateway.url}/readyz").json()

    assert {name: answer.text for name, answer in answers.items() if answer.status_code != 200} == {}
    assert len(answers["task semantic"].json()["segments"]) > 0
    assert ready["degraded"] == []


def test_a_video_is_answered_frame_by_frame(pair: Pair) -> None:
    def messages() -> Iterator[pb.SegmentVideoRequest]:
        config = pb.StreamConfig(classes=[pb.Class(name="sky")], max_side=SIDE, tracking=True)
        yield pb.SegmentVideoRequest(config=config)
        for number in range(FRAMES):
            yield pb.SegmentVideoRequest(frame=pb.Frame(image=PICTURE, id=str(number)))

    with grpc.insecure_channel(pair.gateway.grpc) as channel:
        answers = list(SegmentationStub(channel).SegmentVideo(messages(), timeout=SOON))

    assert [answer.frame_id for answer in answers] == ["0", "1", "2"]
    assert all(answer.HasField("answer") for answer in answers)


def test_an_error_of_the_worker_arrives_with_its_type(pair: Pair) -> None:
    body = {"image": {"id": "0" * 32}, "classes": ["sky"]}

    answer = httpx.post(f"{pair.gateway.url}/v1/segment", json=body, timeout=SOON)

    assert (answer.status_code, answer.json()["type"]) == (404, "image-expired")
