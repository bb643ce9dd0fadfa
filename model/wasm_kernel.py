"""Compile the kernel to WebAssembly for the page, or check that the page's binary is of these sources.

python model/wasm_kernel.py write|check

`write` needs clang, lld and wasi-libc. The binary carries a digest of its sources and flags, so that a check needs no
compiler.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KERNEL = ROOT / "model/lexiseg_model/kernel"
BINARY = ROOT / "service/lexiseg_service/web/playground/masks/kernel.wasm"
SOURCES = (
    "winners.c",
    "specks.c",
    "runs.c",
    "regions.c",
    "outlines.c",
    "spans.c",
    "teach.c",
    "lessons.c",
    "resize.c",
    "paint.c",
)
FUNCTIONS = (
    *(
        "winners_of_some",
        "specks",
        "count_runs",
        "encode_runs",
        "encode_spans",
        "cut",
        "count_row_runs",
        "connect",
        "outlines",
    ),
    *("lesson", "head", "resize", "axis", "stroke", "brush", "join", "crc"),
)
# Products and sums are rounded one by one, as in the service's kernel (model/setup.py).
FLAGS = (
    *("--target=wasm32-wasi", "-std=gnu11", "-O3", "-msimd128", "-mbulk-memory", "-g0", "-fvisibility=hidden"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-nostartfiles", "-nodefaultlibs"),
    *("-I/usr/include/wasm32-wasi", "-L/usr/lib/wasm32-wasi", "-Wl,--no-entry", "-Wl,--strip-all"),
    *(f"-Wl,--export={name}" for name in ("malloc", "free", *(f"lexiseg_{name}" for name in FUNCTIONS))),
)
SECTION = b"\x07sources"  # name of the custom section, after its length


def digest() -> bytes:
    """SHA-256 of the sources and the flags."""
    parts = [*(KERNEL / name for name in ("kernel.h", *SOURCES))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts) + " ".join(FLAGS).encode()).digest()


def write(path: Path = BINARY) -> None:
    """Compile the kernel; exits with the compiler's errors."""
    sources = [KERNEL / name for name in SOURCES]
    done = subprocess.run(["clang", *FLAGS, *sources, "-lc", "-o", path], check=False)
    if done.returncode:
        sys.exit("cannot compile the kernel for the page: `make wasm` installs clang, lld and wasi-libc")
    content = SECTION + digest()
    path.write_bytes(path.read_bytes() + bytes([0, len(content)]) + content)
    path.chmod(0o644)


def check(path: Path = BINARY) -> None:
    """Exit unless a binary is of these sources."""
    if not path.is_file() or not path.read_bytes().endswith(SECTION + digest()):
        sys.exit(f"{path} is out of date: run `make wasm`")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]]()
