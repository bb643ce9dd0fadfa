"""Whether the memory of `lexiseg bulk` grows: the real command over many small pictures, in one process and on Ray.

BULK_MEMORY (20000) pictures of 48 x 36, each another one, drawn here; read after each tenth from /proc, of the
command's process and, on Ray, of its actors.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clock import print_table

SIZE = (36, 48)  # height, width
SMALL = "32"  # longer side of the network's input: it is not the pace that is measured
TENTHS = 10
LOOK_SECONDS = 1.0
WAYS = {"--local": ("--local",), "Ray": ("--actors", "1")}


def draw(folder: Path, count: int) -> Path:
    """JPEGs of a coloured ellipse on a slope of two colours, a thousand a folder."""
    random = np.random.default_rng(0)
    slope = np.linspace(0, 1, SIZE[0])[:, None, None]
    for number in range(count):
        above, below, shape = random.integers(0, 256, (3, 3))
        picture = np.broadcast_to(above * (1 - slope) + below * slope, (*SIZE, 3)).astype(np.uint8).copy()
        centre, axes = random.integers(8, 32, 2).tolist(), random.integers(3, 16, 2).tolist()
        cv2.ellipse(picture, centre, axes, 0, 0, 360, shape.tolist(), -1)
        place = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), picture)
    return folder


def run() -> None:
    """Prints a table of MiB by tenth."""
    count = int(os.environ.get("BULK_MEMORY", "20000"))
    root = Path(tempfile.mkdtemp())
    try:
        folder = draw(root / "in", count)
        columns = {way: list(_tenths(folder, root / way, options, count)) for way, options in WAYS.items()}
    finally:
        shutil.rmtree(root)
    rows = [
        [f"{count * (tenth + 1) // TENTHS:,}", *each] for tenth, each in enumerate(zip(*columns.values(), strict=True))
    ]
    print_table("MiB resident", ["pictures", "`--local`", "Ray: driver, actor"], rows)


def _tenths(folder: Path, out: Path, options: tuple[str, ...], count: int) -> Iterator[str]:
    """Of the processes that matter, as a tenth more is done."""
    each = max(1, count // (TENTHS * 4))
    command = [
        "bulk",
        str(folder),
        str(out),
        "-c",
        "sky",
        "-c",
        "ball",
        "--max-side",
        SMALL,
        "--rows-per-file",
        str(each),
    ]
    with subprocess.Popen([sys.executable, "-m", "lexiseg_service.cli", *command, *options]) as job:
        for tenth in range(1, TENTHS + 1):
            said = ""
            while len(list(out.glob("rows/*.parquet"))) < tenth * 4:
                if job.poll() is not None:
                    break
                said = _resident(job.pid) or said
                time.sleep(LOOK_SECONDS)
            said = _resident(job.pid) or said
            print(f"{out.name}, {count * tenth // TENTHS:,} pictures: {said} MiB", file=sys.stderr, flush=True)
            yield said
    if job.returncode:
        sys.exit(f"{out.name}: status {job.returncode}")


def _resident(pid: int) -> str:
    """MiB of a process, and of those below it that are Ray's actors; "" where it has ended."""
    families, sizes, actors = {}, {}, set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            title = (status.parent / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        own = int(told["Pid"])
        families[own], sizes[own] = int(told["PPid"]), int(told.get("VmRSS", "0").split()[0]) // 1024
        if title.startswith(b"ray::MapWorker"):
            actors.add(own)

    def is_below(each: int) -> bool:
        while each in families and each != pid:
            each = families[each]
        return each == pid

    known = [sizes[each] for each in (pid, *sorted(actor for actor in actors if is_below(actor))) if sizes.get(each)]
    return ", ".join(f"{size:,}" for size in known)
