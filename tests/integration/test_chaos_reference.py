"""The chaos suite compares with stored answers, so that a constant fault is found."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from lexiseg_model.methods.tiny.weights import FOLDER
from loadtests.chaos.__main__ import check
from loadtests.chaos.honest import Honest
from loadtests.chaos.judge import Judge
from tests.integration.server import Server


def honest(server: Server) -> Honest:
    return Honest(server.url, server.grpc, "unneeded", Judge())


async def test_the_service_answers_as_stored(tmp_path: Path) -> None:
    with Server(tmp_path / "log.jsonl") as server:
        await check(honest(server))


async def test_a_constant_fault_is_wrong_before_anything_has_gone_wrong(tmp_path: Path) -> None:
    faulty = tmp_path / "models" / "faulty"
    shutil.copytree(FOLDER, faulty)
    weights = load_file(faulty / "tiny.safetensors")
    weights["pixel_head.bias"] = weights["pixel_head.bias"][::-1].copy()
    save_file(weights, faulty / "tiny.safetensors")
    card = yaml.safe_load((faulty / "card.yaml").read_text())
    digest = hashlib.sha256((faulty / "tiny.safetensors").read_bytes()).hexdigest()
    (faulty / "card.yaml").write_text(yaml.safe_dump(card | {"name": "faulty", "weights_sha256": digest}))

    with (
        Server(tmp_path / "log.jsonl", LEXISEG_MODEL="faulty", LEXISEG_MODELS_DIR=str(tmp_path / "models")) as server,
        pytest.raises(RuntimeError, match=r"wrong before anything has gone wrong:\n.*the stored"),
    ):
        await check(honest(server))
