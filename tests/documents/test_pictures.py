"""Pictures of the documents show what the model and the page show today."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import chromium
from tests.documents.reading import ROOT
from tests.integration.server import Server

PICTURES = ROOT / "docs/pictures"
MAX_DIFFERENCE = 6.0  # of 255, on average: fonts and rounding differ between machines, other masks differ more
MAX_BYTES = 300_000  # of the first picture


def script(name: str) -> Any:
    return importlib.import_module(f"docs.{name}")


def difference(folder: Path, name: str) -> float:
    """The mean difference between a new picture and the one in the documents, of 255."""
    new, kept = (np.asarray(Image.open(where / name).convert("RGB"), np.float32) for where in (folder, PICTURES))
    assert new.shape == kept.shape
    return float(np.abs(new - kept).mean())


@pytest.mark.slow
def test_the_model_paints_them(tmp_path: Path) -> None:
    script("write_pictures").main(tmp_path)

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"china.png", "example.png", "limits.png"}
    assert [name for name in names if difference(tmp_path, name) > MAX_DIFFERENCE] == []


@pytest.mark.slow
def test_the_page_looks_like_its_pictures(server: Server, tmp_path: Path) -> None:
    chromium.require()
    playground = script("write_playground")
    with playground.pages(server.url) as opened:
        for write in (playground.ask, playground.annotate):
            write(opened(), tmp_path)

    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"playground.png", "annotate-review.webp", "annotate-correct.webp"}
    assert [name for name in names if difference(tmp_path, name) > MAX_DIFFERENCE] == []


def test_the_first_picture_shows_the_page_at_work_and_loads_fast() -> None:
    file = PICTURES / script("write_playground").ANIMATION

    with Image.open(file) as animation:
        assert getattr(animation, "n_frames", 1) >= 4
    assert file.stat().st_size <= MAX_BYTES
