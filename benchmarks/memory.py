"""How much memory a process took: for parts that run in a process of their own."""

from __future__ import annotations

from pathlib import Path


def max_resident() -> float:
    """Megabytes that this process held at most. Not `ru_maxrss`: a child begins with its parent's."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
