"""Build the C kernel where there is a compiler; without one, numpy does its work.

`LEXISEG_WITHOUT_KERNEL=1` builds a wheel for any machine.
"""

from __future__ import annotations

import os
from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("lexiseg_model/kernel")
WITHOUT_KERNEL = os.environ.get("LEXISEG_WITHOUT_KERNEL") == "1"

kernel = Extension(
    "lexiseg_model.kernel._kernel",
    sorted(map(str, KERNEL.glob("*.c"))),
    depends=sorted(map(str, KERNEL.glob("*.h"))),
    # Products and sums are rounded one by one, as numpy does, so that answers are equal.
    extra_compile_args=[
        *("-std=gnu11", "-O3", "-Wall", "-Wextra", "-g0", "-fvisibility=hidden"),
        *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    ],
    libraries=["m"],
    # It calls nothing of Python, so one file serves every later version.
    py_limited_api=True,
    optional=True,
)

if WITHOUT_KERNEL:
    setup()
else:
    setup(ext_modules=[kernel], options={"bdist_wheel": {"py_limited_api": "cp311"}})
