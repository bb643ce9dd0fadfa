"""The notebooks of examples/, run one after the other in a fresh namespace against a real server."""

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import once
from tests.command import ended
from tests.integration.server import ROOT, Server

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
CELL_SECONDS = 120
# In a process of its own: Jupyter's libraries warn of themselves. One kernel runs all: its start takes seconds.
RUN = f"""
import sys, nbclient, nbformat
from contextlib import suppress
from pathlib import Path
from traitlets.config import Config
# A port that was free may be taken before it is listened on.
by_files = Config(ConnectionFileMixin=dict(transport="ipc"))
options = dict(timeout={CELL_SECONDS}, startup_timeout={CELL_SECONDS}, kernel_name="python3", config=by_files)
client = nbclient.NotebookClient(nbformat.v4.new_notebook(), **options)
with client.setup_kernel():
    for path in sys.argv[1:]:
        client.nb = nbformat.read(path, 4)
        client.nb.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
        with suppress(nbclient.exceptions.CellExecutionError):  # which is among the outputs
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
        nbformat.write(client.nb, Path(path).name)
"""


def outputs(notebook: Path) -> list[dict[str, Any]]:
    content = json.loads(notebook.read_text())
    return [output for cell in content["cells"] for output in cell.get("outputs", [])]


@pytest.fixture(scope="module")
def ran(server: Server) -> Path:
    """A folder with the notebooks and their outputs."""
    own = {"LEXISEG_BASE_URL": server.url, "LEXISEG_GRPC_TARGET": server.grpc, "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(folder: Path) -> None:
        folder.mkdir()
        ran = ended([sys.executable, "-c", RUN, *NOTEBOOKS], cwd=folder, env=os.environ | own)
        assert ran.returncode == 0, ran.stderr[-3000:]

    return once.made("notebooks", run)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_answers_show_themselves(path: Path, ran: Path) -> None:
    made = outputs(ran / path.name)

    assert [output["traceback"] for output in made if output["output_type"] == "error"] == []
    shown = [output["data"]["image/png"] for output in made if "image/png" in output.get("data", {})]
    assert shown
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    assert outputs(path) == []
    assert path.name in (ROOT / "examples/README.md").read_text()
