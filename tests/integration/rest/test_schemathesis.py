"""Schemathesis with all its default checks and phases, as its command line runs them against any service."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lexiseg_service.gateway.admission.key_file import line_of
from tests.integration.server import Server

ROOT = Path(__file__).parents[3]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Of each operation, beside those that cover the schema's corners.
EXAMPLES = 6
KEY = "right"
METHODS = {"get", "put", "post", "patch", "delete"}
PHASES = ["Examples", "Coverage", "Fuzzing", "Stateful"]


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "log.jsonl", LEXISEG_API_KEYS=line_of("fuzzer", KEY)) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{server.url}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {KEY}"),
            *("--max-examples", str(EXAMPLES), "--seed", "20", "--generation-deterministic"),
        ]
        answer = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8",
            check=False,
        )  # fmt: skip

    report = answer.stdout + answer.stderr
    assert answer.returncode == 0, report
    assert f"Tested: {operations()}" in report
    assert [phase for phase in PHASES if f"✅ {phase}" not in report] == []


def operations() -> int:
    """Of the description that is kept beside the code; a test of contracts says that it is the one served."""
    paths = json.loads((ROOT / "proto" / "openapi.json").read_bytes())["paths"]
    return sum(method in METHODS for path in paths.values() for method in path)
