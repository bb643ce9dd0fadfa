"""Peak memory of this process."""

from __future__ import annotations

from pathlib import Path


def max_resident() -> float:
    """Peak resident memory in MiB. Not `ru_maxrss`, which a child inherits from its parent."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
