"""`python -m loadtests.bench [finish|masks|refinement|text-cache|serving ...]`: every part, or those named."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Callable

from loadtests.bench import finish, masks, refinement, serving, text_cache

PARTS: dict[str, Callable[[], None]] = {
    "finish": finish.run,
    "masks": masks.run,
    "refinement": refinement.run,
    "text-cache": text_cache.run,
    "serving": serving.run,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        if name not in PARTS:
            sys.exit(f"no benchmark {name!r}; there is: {', '.join(PARTS)}")
        PARTS[name]()
