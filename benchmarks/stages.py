"""Where the CPU of one request goes: each stage by itself on one thread, called as worker and gateway call it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clock import cost, print_table
from benchmarks.kernel import numpy_alone
from benchmarks.serving import CLASSES, photograph
from lexiseg_model import catalogue
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_model.masks.upsample import winners
from lexiseg_model.types import Background, ClassEntry, Vocabulary
from lexiseg_model.vocabulary.scoring import score_vocabulary
from lexiseg_service.gateway.rest.routes import render_json
from lexiseg_service.question.messages import WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_service.worker.decode import decode
from lexiseg_service.worker.engine import Engine
from lexiseg_service.worker.texts.rows import TextCache

RUNS = 15


def run() -> None:
    """CPU milliseconds, medians; a stage is also shown as numpy does it where there is another way."""
    torch.set_num_threads(1)
    segmenter = catalogue.load("tiny", device="cpu")
    image, settings = photograph(), Settings()
    vocabulary = Vocabulary(tuple(ClassEntry(name) for name in CLASSES), Background())
    engine = Engine(segmenter, settings, Metrics())
    try:
        answer = engine.submit(WorkerRequest(image, vocabulary, "tiny")).result()
        cache: TextCache = engine.text_caches.of(segmenter)

        def rows_of(texts: list[str]) -> NDArray[np.float16]:
            return cache.rows(texts).in_order

        rgb = decode(image, settings.limits, 2 * segmenter.card.input.short_side).rgb
        plan = segmenter.plan(rgb)
        features = segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles))
        logits = score_vocabulary(segmenter, features, vocabulary, rows_of)
        labels = winners(logits, features.size).labels
        texts = segmenter.texts(vocabulary.classes)
        stages: dict[str, Callable[[], object]] = {
            "decode": partial(decode, image, settings.limits, 2 * segmenter.card.input.short_side),
            "plan": partial(segmenter.plan, rgb),
            "image pass": lambda: segmenter.assemble(plan, segmenter.encode_tiles(plan.tiles)),
            "texts, from memory": lambda: rows_of(texts),
            "scores, background": lambda: score_vocabulary(segmenter, features, vocabulary, rows_of),
            "arg-max": lambda: winners(logits, features.size),
            "run lengths": lambda: encode_label_map(labels, len(CLASSES)),
            "JSON": lambda: render_json(answer, "a request"),
        }
        rows, total, numpys_total = [], 0.0, 0.0
        for name, work in stages.items():
            ours = 1e3 * cost(work, RUNS).cpu
            with numpy_alone():
                numpys = 1e3 * cost(work, RUNS).cpu if name in ("arg-max", "run lengths") else ours
            rows.append([name, f"{ours:.2f}", "-" if numpys == ours else f"{numpys:.2f}"])
            total, numpys_total = total + ours, numpys_total + numpys
    finally:
        engine.close(1)
    rows.append(["all of these", f"{total:.2f}", f"{numpys_total:.2f}"])
    print_table("640 x 480 JPEG, 20 classes, CPU of each stage", ["stage", "ms", "by numpy, ms"], rows)
