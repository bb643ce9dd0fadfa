"""The notebooks of examples/, run in a kernel of their own against a real server."""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ended
from tests.integration.server import ROOT, Server

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
CELL_SECONDS = 120
# In a process of its own: Jupyter's libraries warn of themselves.
RUN = f"""
import sys, nbclient, nbformat
from traitlets.config import Config
notebook = nbformat.read(sys.argv[1], 4)
# A port that was free may be taken before it is listened on.
by_files = Config(ConnectionFileMixin=dict(transport="ipc"))
options = dict(timeout={CELL_SECONDS}, startup_timeout={CELL_SECONDS}, kernel_name="python3", config=by_files)
nbclient.NotebookClient(notebook, **options).execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(notebook: Path) -> list[dict[str, Any]]:
    content = json.loads(notebook.read_text())
    return [output for cell in content["cells"] for output in cell.get("outputs", [])]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_answers_show_themselves(path: Path, server: Server, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LEXISEG_BASE_URL": server.url,
        "LEXISEG_GRPC_TARGET": server.grpc,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    ran = ended([sys.executable, "-c", RUN, str(path), str(tmp_path / "ran.ipynb")], cwd=tmp_path, env=environment)

    assert ran.returncode == 0, ran.stderr[-3000:]
    shown = [
        output["data"]["image/png"]
        for output in outputs(tmp_path / "ran.ipynb")
        if "image/png" in output.get("data", {})
    ]
    assert shown
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    assert outputs(path) == []
    assert path.name in (ROOT / "examples/README.md").read_text()
