"""How well regions are named: true masks of objects among the names of their set, by the adapter and by CLIP alone."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import torch

from lexiseg_model.data.read_scenes import object_scenes
from lexiseg_model.evaluation.scenes.judges import encode
from lexiseg_model.methods.unpair_seg.segmenter import UnpairSegSegmenter
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import ClassEntry

INSIDE = 10.0  # logit of a pixel of the true mask; outside it is the negative


def say_naming(segmenter: Segmenter, root: Path, name: str, photographs: int) -> dict[str, float]:
    """Prints `named_rank` with the adapter, and without it."""
    assert isinstance(segmenter, UnpairSegSegmenter)
    reached = {"with the adapter": named_rank(segmenter, root, name, photographs)}
    adapter, segmenter.network.adapter = segmenter.network.adapter, None
    try:
        reached["by CLIP alone"] = named_rank(segmenter, root, name, photographs)
    finally:
        segmenter.network.adapter = adapter
    for which, rank in reached.items():
        print(f"{name}: objects' own names stand at {rank:.1f} % of the list {which}", flush=True)
    return reached


@torch.inference_mode()
def named_rank(segmenter: UnpairSegSegmenter, root: Path, name: str, photographs: int) -> float:
    """Where the true name of an object stands among all of the set, in percent; 50 by chance, 0 at best.

    A mean over classes, so that frequent ones do not decide.
    """
    scenes = object_scenes(root, name, "val", lambda _: True)
    classes = tuple(ClassEntry(entry.name) for entry in scenes.classes)
    bank = segmenter.text_bank(classes, segmenter.encode_texts(segmenter.texts(classes)))
    ranks: dict[int, list[float]] = {}
    for scene in islice(scenes.scenes, photographs):
        objects = scene.read_truth()
        if not objects.labels:
            continue
        features = encode(segmenter, scene.read_image())
        numbers = np.arange(1, len(objects.labels) + 1)
        masks = torch.from_numpy(objects.ids[None] == numbers[:, None, None])
        embeddings = segmenter.embed_masks(features, INSIDE * (2 * masks.float() - 1))
        scores = segmenter.region_scores(features, embeddings, bank)  # [K, N]
        for column, label in enumerate(objects.labels):
            before = (scores[:, column] > scores[label, column]).sum().item()
            ranks.setdefault(label, []).append(100 * before / max(1, len(classes) - 1))
    return float(np.mean([np.mean(of_class) for of_class in ranks.values()])) if ranks else 50.0
