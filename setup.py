"""What pyproject.toml cannot say: the kernel is compiled where there is a C compiler, else left out."""

from __future__ import annotations

from setuptools import Extension, setup

KERNEL = "model/lexiseg_model/kernel"
PARTS = (
    *("cell_scores", "crumbs", "evidence", "layers", "mask_logits", "outcome", "outlines", "own_colours"),
    *("pamr", "pixels", "points", "presence", "prompts", "regions", "runs", "shrink", "spans", "specks", "version"),
    "winners",
)
HEADERS = (
    *("cell_scores_steps", "exponential", "kernel", "layers", "pamr_blocks", "pamr_layout", "pamr_room", "pamr_rows"),
    *("pamr_sixteen", "power", "products", "prompts_answer", "prompts_masks", "prompts_steps", "square_steps"),
    *("team", "vectors", "winners_steps", "winograd"),
)

setup(
    ext_modules=[
        Extension(
            "lexiseg_model.kernel._kernel",
            [f"{KERNEL}/{part}.c" for part in PARTS],
            depends=[f"{KERNEL}/{header}.h" for header in HEADERS],
            # A product and a sum are rounded each by itself, as numpy does it: the answers are equal.
            extra_compile_args=[
                *("-std=gnu11", "-O3", "-Wall", "-Wextra", "-g0", "-fvisibility=hidden"),
                *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
            ],
            libraries=["m", "pthread"],
            # It is a plain library without a line of Python's, so one file fits every version from here on.
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
