"""Pictures of the documents are what the model and the page show today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import chromium
from tests.documents.reading import ROOT

PICTURES = ROOT / "docs/pictures"
STRAYS = 6.0  # of 255, on average: fonts, palettes and rounding differ between machines, other masks differ more


def write(script: str, folder: Path) -> None:
    """Lets a script of docs/ write its pictures there."""
    spec = importlib.util.spec_from_file_location(script, ROOT / f"docs/{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(folder)


def apart(folder: Path, name: str) -> float:
    """How far a picture is from the one in the documents, of 255."""
    pair = [np.asarray(Image.open(where / name).convert("RGB"), np.float32) for where in (folder, PICTURES)]
    assert pair[0].shape == pair[1].shape
    return float(np.abs(pair[0] - pair[1]).mean())


@pytest.mark.slow
def test_the_model_paints_them(tmp_path: Path) -> None:
    write("write_pictures", tmp_path)

    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["china.png", "example.png", "limits.png"]
    assert {name: apart(tmp_path, name) for name in names if apart(tmp_path, name) > STRAYS} == {}


@pytest.mark.slow
def test_the_page_looks_like_its_picture(tmp_path: Path) -> None:
    chromium.require()
    write("write_playground", tmp_path)

    assert apart(tmp_path, "playground.png") < STRAYS
