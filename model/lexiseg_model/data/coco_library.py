"""faster-coco-eval, which only mask AP needs: loaded when it is asked for."""

from __future__ import annotations

from types import ModuleType

from lexiseg_model.errors import OptionError


def coco_library() -> ModuleType:
    """The package `faster_coco_eval`.

    Raises:
        OptionError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError:
        raise OptionError("instances are measured by faster-coco-eval: pip install faster-coco-eval") from None
    package: ModuleType = faster_coco_eval
    return package
