"""Run the released code of every model beside ours and write `released.yaml`, of which lists of models are made.

`make released`: three seeds, two sizes of pictures, small random weights, CPU. A model's code is what a package
registry has of its authors, as `constraints.txt` or `requirements/released.txt` pin it. Nothing of it is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date
from fnmatch import fnmatch
from importlib.metadata import version
from typing import Any, NamedTuple

import yaml

from benchmarks.released import falcon, hugging_face, trunk
from lexiseg_model.catalogue.available import MAX_DIFFERENCE, RELEASED, available

Size = tuple[int, int]


class Code(NamedTuple):
    """The code of some models: pattern of their names, its package, a comparison of one seed and size."""

    models: str
    package: str
    compare: Callable[[int, Size], float]
    sizes: tuple[Size, Size]
    seeds: tuple[int, int, int] = (0, 1, 2)
    part: str = ""


LANDSCAPE: tuple[Size, Size] = ((60, 100), (90, 140))
CODES = (  # seeds of videos are some in which an object is followed
    Code("tiny", "timm", trunk.compare, ((96, 160), (64, 64)), part=" (the trunk)"),
    Code("tipsv2-*", "transformers", hugging_face.tipsv2, ((56, 56), (98, 98))),
    Code("sam2.1-*", "transformers", hugging_face.sam2, LANDSCAPE, (17, 18, 20)),
    Code("edgetam", "transformers", hugging_face.edgetam, LANDSCAPE, (0, 2, 5)),
    Code("sam3", "transformers", hugging_face.sam3, LANDSCAPE),
    Code("sam3-litetext", "transformers", hugging_face.sam3_litetext, LANDSCAPE),
    Code("falcon-perception", "falcon-perception", falcon.compare, falcon.SIZES),
)
NO_PACKAGE = {
    "tips-s14": "google-deepmind/tips",
    "dense-clip": "sinahmr/NACLIP",
    "corrclip-*": "zdk258/CorrCLIP",
    "trident-*": "YuHengsss/Trident",
    "tcl": "kakaobrain/tcl",
    "unpair-seg": "DerrickWang005/Unpair-Seg",
}


def main(arguments: Sequence[str]) -> None:
    """Compare the models that match a pattern, all of them by default; `--store` writes arrays for a test.

    Exit status 1: one is not equal.
    """
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if "--store" in arguments:
        falcon.store(CODES[-1].seeds)
    patterns = [argument for argument in arguments if argument != "--store"] or ["*"]
    rows: dict[str, Any] = yaml.safe_load(RELEASED.read_text(encoding="utf-8")) if RELEASED.exists() else {}
    for code in CODES:
        names = [name for name in available() if fnmatch(name, code.models)]
        if not any(fnmatch(name, pattern) for name in names for pattern in patterns):
            continue
        worst = max(code.compare(seed, size) for seed in code.seeds for size in code.sizes)
        row = {
            "code": f"{code.package} {version(code.package)}{code.part}",
            "day": date.today(),
            "difference": float(f"{worst:.1e}"),
        }
        rows |= dict.fromkeys(names, row)
        print(f"{', '.join(names)}: {worst:.1e} of the largest, {row['code']}", file=sys.stderr)
    for pattern, repository in NO_PACKAGE.items():
        reason = f"{repository} is no package of a registry"
        rows |= {name: {"reason": reason} for name in available() if fnmatch(name, pattern)}
    lines = [f"{name}: {yaml.safe_dump(rows[name], default_flow_style=True, width=200)}" for name in available()]
    failed = [name for name, row in rows.items() if row.get("difference", 0) > MAX_DIFFERENCE]
    RELEASED.write_text("# Written by `python -m benchmarks released`.\n" + "".join(lines), encoding="utf-8")
    if failed:
        sys.exit(f"not equal: {', '.join(failed)}")
