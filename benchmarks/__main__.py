"""`python -m benchmarks [PART ...]`: what is counted against the baseline; or the parts that are named, or `all`.

`python -m benchmarks smoke NAME ... [seeds=3] [key=value ...]` measures short trainings, and
`python -m benchmarks device [NAME]` what a GPU does, and `python -m benchmarks examples ROOT [SET ...]` classes by
example against their words, and `python -m benchmarks page [FOLDER]` the page, and a site of `lexiseg site`;
none of them belongs to `all`.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Callable, Sequence

from benchmarks import (
    counts,
    examples,
    finish,
    masks,
    page,
    prompts,
    proposals,
    refinement,
    runtimes,
    serving,
    smoke,
)
from benchmarks.calls import later
from benchmarks.clips import following, video
from benchmarks.device import run as device

PARTS: dict[str, Callable[[], None]] = {
    "counts": counts.run,
    "finish": finish.run,
    "following": following.run,
    "later": later.run,
    "masks": masks.run,
    "prompts": prompts.run,
    "proposals": proposals.run,
    "refinement": refinement.run,
    "runtimes": runtimes.run,
    "serving": serving.run,
    "video": video.run,
}

WITH_ARGUMENTS: dict[str, Callable[[Sequence[str]], None]] = {
    "device": device.main,
    "examples": examples.main,
    "page": page.main,
    "smoke": smoke.main,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in WITH_ARGUMENTS:
        WITH_ARGUMENTS[sys.argv[1]](sys.argv[2:])
        sys.exit()
    named = [name for name in sys.argv[1:] if name != "--write"] or ["counts"]
    for name in PARTS if named == ["all"] else named:
        if name not in PARTS:
            there = ", ".join([*PARTS, *WITH_ARGUMENTS])
            print(f"no benchmark {name!r}; there is: {there}", file=sys.stderr)
            sys.exit(2)
        PARTS[name]()
