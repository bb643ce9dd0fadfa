"""`lexiseg bulk --local` against a bare loop over the same BULK_PICTURES (400) files in the same run."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from benchmarks.clock import print_table
from lexiseg_model import catalog, tasks
from lexiseg_model.segmenter import Features, InferenceOptions, Segmenter
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_service.commands.bulk.job import Job, batch_settings
from lexiseg_service.commands.bulk.plan import Destination, write_plan
from lexiseg_service.commands.bulk.segmenting import Segmenting
from lexiseg_service.commands.bulk.sources import Source, items
from lexiseg_service.commands.segment.question import Question
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


def bare(segmenter: Segmenter, paths: list[Path], settings: Settings, *, masks: bool) -> float:
    """Pictures a second of a plain loop: read, decode, image pass in batches, and masks if wanted."""
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

    began = time.perf_counter()
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
    return len(paths) / (time.perf_counter() - began)


def job_of(folder: Path, destination: Path, settings: Settings) -> Job:
    """Of all pictures of a folder."""
    question = Question(CLASSES, None, None, 0.0, None)
    vocabulary = Vocabulary(tuple(map(ClassEntry, CLASSES)))
    return Job(Source(str(folder), "files"), str(destination), question, vocabulary, settings, "tiny@1")


def run() -> None:
    """Prints the table."""
    count = int(os.environ.get("BULK_PICTURES", "400"))
    torch.set_num_threads(1)
    settings = batch_settings(Settings())
    root = Path(tempfile.mkdtemp())
    try:
        _pace(root, settings, count)
    finally:
        shutil.rmtree(root)


def _pace(root: Path, settings: Settings, count: int) -> None:
    folder = photographs(root / "in", count)
    paths = sorted(folder.iterdir())
    segmenter = catalog.load("tiny", cache_dir=settings.cache_dir)
    destination = Destination(str(root / "out"))
    size = write_plan(destination, items(Source(str(folder), "files")), count)
    segmenting = Segmenting(job_of(folder, root / "out", settings))
    bare(segmenter, paths[:32], settings, masks=True)
    with_masks = bare(segmenter, paths, settings, masks=True)
    forward = bare(segmenter, paths, settings, masks=False)
    began = time.perf_counter()
    done = sum(segmenting(chunk).fresh for chunk in range(size.chunks))
    bulk = done / (time.perf_counter() - began)
    again = bare(segmenter, paths, settings, masks=True)
    segmenting.close()
    loop = (with_masks + again) / 2
    rows = [
        ["loop without masks", f"{forward:.1f}", f"{bulk / forward:.2f}"],
        ["loop with masks, before and after", f"{with_masks:.1f}, {again:.1f}", f"{bulk / loop:.2f}"],
        ["bulk, with parquet", f"{bulk:.1f}", ""],
    ]
    print_table(
        f"{count:,} JPEGs of 640 x 480, batches of {settings.max_batch}", ["", "pictures/s", "bulk against it"], rows
    )
