from __future__ import annotations

import sys

import pytest

from lexiseg_model.data.coco_library import coco_library
from lexiseg_model.errors import OptionError


def test_the_library_is_there_for_the_tests() -> None:
    assert coco_library().COCO


def test_where_it_is_not_installed_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)

    with pytest.raises(OptionError, match="pip install faster-coco-eval"):
        coco_library()
