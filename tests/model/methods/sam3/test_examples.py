"""Classes by example against transformers' forward pass with boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lexiseg_model.errors import TaskError
from lexiseg_model.features import Features
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.types import ClassEntry, Prompt, Region, Shown, Vocabulary
from lexiseg_model.vocabulary.scoring import score_vocabulary
from tests.model.conformance.asking import blocks, seen
from tests.model.methods.sam3 import small

# Of torch's compiler, which torchvision imports where its own library does not load.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
Box = tuple[float, float, float, float]
HERE: Box = (2, 3, 40.5, 25)
THERE: Box = (60, 30, 80, 55)
NONE = np.empty((0, 0), np.float16)


@pytest.fixture(scope="module")
def ours() -> Sam3Segmenter:
    return small.segmenter()


@pytest.fixture(scope="module")
def features(ours: Sam3Segmenter) -> Features:
    return seen(ours, blocks())


def rows(ours: Sam3Segmenter, features: Features, *boxes: Box) -> TextRows:
    return ours.example_rows(features, [Region(Prompt(box=box)) for box in boxes])


def mascot(ours: Sam3Segmenter, features: Features, *boxes: Box, named: bool = False) -> ClassEntry:
    shown = Shown(tuple(row.tobytes() for row in rows(ours, features, *boxes)))
    return ClassEntry("cat", shown=shown, named=named)


def test_boxes_are_seen_as_by_the_models_own_forward_pass(
    ours: Sam3Segmenter, features: Features, tmp_path: Path
) -> None:
    from transformers import Sam3Model, Sam3Processor

    small.save(tmp_path)
    model, processor = Sam3Model.from_pretrained(tmp_path).eval(), Sam3Processor.from_pretrained(tmp_path)
    inputs = processor(
        images=Image.fromarray(blocks()),
        input_boxes=[[list(HERE), list(THERE)]],
        input_boxes_labels=[[1, 0]],
        return_tensors="pt",
    )
    # Eager: torchvision has torch compile what its own library would do, for longer than all the rest takes.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        theirs = model(**inputs)

    made = ours.example_vectors(rows(ours, features, HERE), rows(ours, features, THERE))
    (mine,) = ours._seen(features, TextBank(made.vectors, np.zeros(1, np.int64), 1, has_examples=True))

    own = theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()
    torch.testing.assert_close(mine.score, own, atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(mine.masks, theirs.pred_masks, atol=5e-2, rtol=1e-2)
    torch.testing.assert_close(mine.semantic, theirs.semantic_seg[:, 0], atol=5e-2, rtol=1e-2)


def test_negatives_and_other_boxes_change_what_is_seen(ours: Sam3Segmenter, features: Features) -> None:
    scores = [
        ours.class_scores(features, TextBank(made.vectors, np.zeros(1, np.int64), 1, has_examples=True))
        for made in (
            ours.example_vectors(rows(ours, features, HERE), NONE),
            ours.example_vectors(rows(ours, features, HERE), rows(ours, features, THERE)),
            ours.example_vectors(rows(ours, features, HERE, THERE), NONE),
        )
    ]

    assert not torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[1], scores[2])


def test_examples_from_another_image_are_refused(ours: Sam3Segmenter, features: Features) -> None:
    shown, other = mascot(ours, features, HERE), seen(ours, blocks("gbra"))

    with pytest.raises(TaskError, match="by example in the picture alone"):
        score_vocabulary(ours, other, Vocabulary((shown,), None), ours.encode_texts)
    with pytest.raises(TaskError, match="by example in the picture alone"):
        ours.example_vectors(
            np.concatenate([rows(ours, of, HERE) for of in (features, other)]).astype(np.float16), NONE
        )
