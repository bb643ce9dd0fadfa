"""Make open_clip and timm importable with a CPU-only torch and a torchvision built for CUDA.

Both import torchvision, which describes two compiled operators to torch and fails where its library does not load. Only
then are they declared here, without an implementation.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

# As in torchvision/csrc/ops: what its Python part describes without asking whether it exists.
SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

LIBRARIES = ("_C_stable.so", "_C.so", "_C_stable.pyd", "_C.pyd")  # the stable one is newer torchvision's

_declared: list[torch.library.Library] = []  # a declaration lives as long as its library object


def torchvision_library() -> Path | None:
    """The compiled library of the installed torchvision, found without importing it; None where there is none."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((folder / name for name in LIBRARIES if (folder / name).is_file()), None)


def declare_missing_operators() -> bool:
    """Declare torchvision's operators, once, if its library cannot be loaded; return whether it was done."""
    if _declared or "torchvision" in sys.modules:
        return False
    library = torchvision_library()
    if library is not None:
        try:
            torch.ops.load_library(library)
        except OSError:
            pass
        else:
            return False
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for signature in SIGNATURES:
        fragment.define(signature)
    _declared.append(fragment)
    return True


def without_compiler() -> AbstractContextManager[object]:
    """Context without torch.compile where operators were declared: a serving machine need not have a C++ compiler."""
    return torch.compiler.set_stance("force_eager") if _declared else nullcontext()
