"""torchvision's missing operators: declared where its library does not load, never elsewhere."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from lexiseg_model.clip import compat
from tests.command import ended

# The module by itself, in a fresh process: importing its package would already have declared what is missing.
ALONE = f"""
import importlib.util, torch
spec = importlib.util.spec_from_file_location("compat", {str(Path(compat.__file__))!r})
compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compat)
"""


def run(script: str) -> str:
    done = ended([sys.executable, "-W", "error", "-c", ALONE + script], timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_open_clip_and_timm_can_be_imported_whatever_torchvision_is_like() -> None:
    # A library that cannot be loaded: a text file.
    out = run(f"""
from pathlib import Path
import sys
print(compat.torchvision_library().parent.name, "torchvision" in sys.modules)
compat.torchvision_library = lambda: Path({__file__!r})
print(compat.declare_missing_operators(), compat.declare_missing_operators())
print(torch.ops.torchvision.nms, torch.ops.torchvision.qnms)
""")

    found, declared, operators = out.splitlines()
    assert found == "torchvision False"  # looked for, not imported
    assert declared == "True False"
    assert operators == "torchvision.nms torchvision.qnms"


@pytest.mark.parametrize("names", [["_C.so"], ["_C.so", "_C_stable.so"], ["_C_stable.so"]])
def test_the_library_that_torchvision_loads_is_found_under_each_of_its_names(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("__init__.py", *names):
        (tmp_path / name).touch()
    spec = ModuleSpec("torchvision", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)

    assert compat.torchvision_library() == tmp_path / names[-1]


@pytest.mark.parametrize("module", ["s_seg.network", "unpair_seg.network", "unpair_seg.layers.trunk"])
def test_a_network_can_be_imported_before_all_else(module: str) -> None:
    done = ended([sys.executable, "-c", f"import lexiseg_model.methods.{module}"], timeout=120)

    assert done.returncode == 0, done.stderr
