"""Schemathesis with all its default checks and phases, as its command line runs them against any service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lexiseg_service.gateway.admission.keys import line_of
from tests.integration.server import Server

CONFIG = Path(__file__).with_name("schemathesis.toml")
# Of each operation, beside those that cover the schema's corners; test_openapi_fuzz tries more.
EXAMPLES, WITHOUT_KEYS = 20, 4
KEY = "right"
PHASES = ["Examples", "Coverage", "Fuzzing", "Stateful"]


@pytest.mark.slow
@pytest.mark.parametrize("keyed", [False, True])
def test_schemathesis_finds_nothing(tmp_path: Path, keyed: bool) -> None:
    environment = {"LEXISEG_API_KEYS": line_of("fuzzer", KEY)} if keyed else {}
    authorization = ["--header", f"Authorization: Bearer {KEY}"] if keyed else []
    with Server(tmp_path / "log.jsonl", **environment) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{server.url}/openapi.json", "--no-color", *authorization),
            *("--max-examples", str(EXAMPLES if keyed else WITHOUT_KEYS), "--seed", "20", "--generation-deterministic"),
        ]
        answer = subprocess.run(
            command,
            cwd=tmp_path,
            env=os.environ | {"PYTHONUTF8": "1"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    report = answer.stdout + answer.stderr
    assert answer.returncode == 0, report
    assert "Tested: 14" in report
    assert [phase for phase in PHASES if f"✅ {phase}" not in report] == []
