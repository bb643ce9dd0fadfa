"""SAM 3 with a light text tower, against transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lexiseg_model import catalogue
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.sam3.import_ import Options
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.types import ClassEntry
from tests.model.conformance.asking import bank_of, blocks, seen
from tests.model.methods.sam3 import small

WORDS = ("red", "an old rowing boat", "blue")


@pytest.mark.parametrize("seed", [0, 1])
def test_each_word_is_seen_as_by_the_models_own_forward_pass(seed: int, tmp_path: Path) -> None:
    from transformers import Sam3LiteTextModel, Sam3Processor

    small.save(tmp_path / "hub", seed, light=True)
    importing.import_model(methods()["sam3"], "light", Options(checkpoint=tmp_path / "hub"), tmp_path)
    ours = catalogue.load("light", models_dir=tmp_path, device="cpu", precision="exact")
    assert isinstance(ours, Sam3Segmenter)

    kept = list(ours._detect(seen(ours, blocks()), bank_of(ours, tuple(map(ClassEntry, WORDS)))))

    model = Sam3LiteTextModel.from_pretrained(tmp_path / "hub").eval()
    processor = Sam3Processor.from_pretrained(tmp_path / "hub")
    for word, mine in zip(WORDS, kept, strict=True):
        with torch.inference_mode():
            theirs = model(**processor(images=Image.fromarray(blocks()), text=word, return_tensors="pt"))
        score = theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()
        torch.testing.assert_close(mine.score, score, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(mine.masks, theirs.pred_masks, atol=1e-4, rtol=1e-4)
