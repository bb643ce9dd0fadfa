"""`lexiseg bulk --local` against a bare loop over the same BULK_PICTURES (400) files, in turns of one run.

Each of BULK_ROUNDS (8) parts of the files is done by bulk, by the loop without masks and by the loop with masks, the
order turned round from part to part, so that what else the machine does meets all three alike. Printed are medians and
ranges of the ratios, and the CPU seconds of a picture, which other work changes less.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.clock import print_table
from lexiseg_model import catalogue, tasks
from lexiseg_model.features import Features, InferenceOptions
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.commands.bulk.plan import Destination, Job, batch_settings, write_plan
from lexiseg_service.commands.bulk.segmenting import Segmenting
from lexiseg_service.commands.bulk.sources import Source, items
from lexiseg_service.commands.question import Question
from lexiseg_service.settings import Settings
from lexiseg_service.worker.decode import decode

CLASSES = ("sky", "building", "cat", "flower", "person", "cup")
SIZE = (640, 480)


def photographs(folder: Path, count: int) -> Path:
    """JPEGs of 640 x 480; links beyond the first sixty."""
    folder.mkdir(parents=True)
    pictures = [Image.fromarray(each) for each in load_sample_images().images]
    pictures += [Image.fromarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee", "astronaut")]
    for number in range(min(count, 60)):
        box = (number % 30, number % 20, 400 + number, 290 + number // 3)
        pictures[number % len(pictures)].convert("RGB").crop(box).resize(SIZE).save(folder / f"{number:06d}.jpg")
    for number in range(60, count):
        (folder / f"{number:06d}.jpg").hardlink_to(folder / f"{number % 60:06d}.jpg")
    return folder


def bare(segmenter: Segmenter, paths: list[Path], settings: Settings, *, masks: bool) -> int:
    """A plain loop: read, decode, image pass in batches, and masks if wanted. How many pictures."""
    vocabulary = Vocabulary(tuple(map(ClassEntry, CLASSES)))
    rows: Any = segmenter.encode_texts(segmenter.texts(vocabulary.classes))
    words = segmenter.texts(vocabulary.classes)
    known = dict(zip(words, rows, strict=True))

    def rows_of(texts: list[str]) -> Any:
        for text in texts:
            if text not in known:
                known[text] = segmenter.encode_texts([text])[0]
        return np.stack([known[text] for text in texts])

    def finish(features: Features) -> None:
        tasks.segment("semantic", segmenter, features, vocabulary, tasks.Options(keep_label_map=False), rows_of)

    step = settings.max_batch
    for first in range(0, len(paths), step):
        plans = []
        for path in paths[first : first + step]:
            decoded = decode(path.read_bytes(), settings.limits, 2 * segmenter.card.input.short_side)
            plans.append(segmenter.plan(decoded.rgb, InferenceOptions()).of_size(decoded.size))
        encoded = segmenter.encode_tiles(np.concatenate([plan.tiles for plan in plans]))
        if masks:
            for index, plan in enumerate(plans):
                finish(segmenter.assemble(plan, tuple(part[index : index + 1] for part in encoded)))
    return len(paths)


def segmented(segmenting: Segmenting, chunk: int) -> int:
    """One chunk by bulk's own function. How many pictures."""
    return segmenting(chunk).fresh


def job_of(folder: Path, destination: Path, settings: Settings) -> Job:
    """Of all pictures of a folder."""
    question = Question(CLASSES, None, None, 0.0, None)
    vocabulary = Vocabulary(tuple(map(ClassEntry, CLASSES)))
    return Job(Source(str(folder), "files"), str(destination), question, vocabulary, settings, "tiny@1")


class Pace(NamedTuple):
    """Of one way in one round."""

    pictures: float  # a second
    cpu: float  # seconds a picture, all threads


def measured(work: Callable[[], int]) -> Pace:
    """The pace of what says how many pictures it did."""
    began, cpu = time.perf_counter(), time.process_time()
    count = work()
    return Pace(count / (time.perf_counter() - began), (time.process_time() - cpu) / count)


def run() -> None:
    """Prints the table."""
    count, rounds = int(os.environ.get("BULK_PICTURES", "400")), int(os.environ.get("BULK_ROUNDS", "8"))
    torch.set_num_threads(1)
    settings = batch_settings(Settings())
    root = Path(tempfile.mkdtemp())
    try:
        _print(count, settings, _rounds(root, settings, count, rounds))
    finally:
        shutil.rmtree(root)


def _rounds(root: Path, settings: Settings, count: int, rounds: int) -> list[dict[str, Pace]]:
    folder = photographs(root / "in", count)
    paths = sorted(folder.iterdir())
    segmenter = catalogue.load("tiny")
    destination = Destination(str(root / "out"))
    part = -(-count // rounds)
    job = job_of(folder, root / "out", settings)
    size = write_plan(job, destination, items(Source(str(folder), "files")), part)
    segmenting = Segmenting(job)
    bare(segmenter, paths[:32], settings, masks=True)
    measurements = []
    for chunk in range(size.chunks):
        slice_ = paths[chunk * part : (chunk + 1) * part]
        ways: list[tuple[str, Callable[[], int]]] = [
            ("loop without masks", partial(bare, segmenter, slice_, settings, masks=False)),
            ("bulk, with masks and parquet", partial(segmented, segmenting, chunk)),
            ("loop with masks", partial(bare, segmenter, slice_, settings, masks=True)),
        ]
        measurements.append({name: measured(work) for name, work in (ways if chunk % 2 else ways[::-1])})
    segmenting.close()
    return measurements


def _print(count: int, settings: Settings, rounds: list[dict[str, Pace]]) -> None:
    bulk = "bulk, with masks and parquet"
    rows = []
    for name in ("loop without masks", "loop with masks", bulk):
        ratios = [each[bulk].pictures / each[name].pictures for each in rounds]
        median = statistics.median(ratios)
        pace = statistics.median(each[name].pictures for each in rounds)
        cpu = statistics.median(each[name].cpu for each in rounds)
        against = "" if name == bulk else f"{median:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, f"{pace:.1f}", f"{1e3 * cpu:.0f} ms", against])
    print_table(
        f"{count:,} JPEGs of 640 x 480 in {len(rounds)} rounds, batches of {settings.max_batch}; medians",
        ["", "pictures/s", "CPU a picture", "bulk against it"],
        rows,
    )
