"""What Label Studio and CVAT themselves read of an answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.clients.formats.made import MASKS, answer
from tests.integration.adapters.tools import FOLDER, SECONDS


@pytest.mark.slow
def test_the_tools_own_readers_get_every_pixel(tmp_path: Path) -> None:
    if not FOLDER.is_dir():
        pytest.skip(f"there is no {FOLDER}; `make test` installs the tools' clients")
    exports = {"label_studio": answer().to_label_studio("x.jpg"), "cvat": answer().to_cvat("x.jpg")}
    (tmp_path / "exports.json").write_text(json.dumps(exports))
    np.savez(tmp_path / "masks.npz", allow_pickle=False, **MASKS)
    program = Path(__file__).with_name("readers.py")

    read = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "exports.json"), str(tmp_path / "masks.npz")],
        env=os.environ | {"PYTHONPATH": str(FOLDER)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert read.returncode == 0, read.stderr[-3000:]
    assert json.loads(read.stdout) == {label: [0, 0] for label in MASKS}
