"""torchvision's missing operators: declared where its library does not load, never elsewhere."""

import sys
from pathlib import Path

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
