"""Models that the hub has for transformers: its own classes over the same files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.released.differences import difference, picture
from lexiseg_model.abilities import prompts_of
from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.segmenter import Segmenter, words_of
from lexiseg_model.testing.suite import BOX, CLICK, PAIR, bank_of
from lexiseg_model.types import ClassEntry, Prompt
from lexiseg_model.video.following import Follower, Start
from tests.model.methods.sam2 import small as sam2_small
from tests.model.methods.sam3 import small as sam3_small
from tests.model.methods.tipsv2 import small as tipsv2_small

Pairs = Iterator[tuple[Tensor, Tensor]]
TEXTS = ["red", "a photo of many boats.", "an old wooden rowing boat"]
WORDS = ("red", "an old rowing boat", "blue")
FRAMES = 6
PROMPTS = (CLICK, BOX, PAIR)  # of pictures of at least 60 x 100


@torch.inference_mode()
def tipsv2(seed: int, size: tuple[int, int], own_values: bool = True) -> float:
    """Patches of a square picture, and rows of texts. `own_values`: MaskCLIP's rule for the last block."""
    with TemporaryDirectory() as folder:
        return difference(_tipsv2(Path(folder), seed, size, own_values))


def _tipsv2(folder: Path, seed: int, size: tuple[int, int], own_values: bool) -> Pairs:
    from transformers import Tipsv2Model, Tipsv2Processor

    side = size[0]
    tipsv2_small.save(folder / "hub", seed)
    card = InputSize(short_side=side, long_side=160, multiple=14)
    ours = _imported("tipsv2", folder, card, window=side, stride=side, own_values=own_values)
    model = Tipsv2Model.from_pretrained(folder / "hub", attn_implementation="eager").eval()
    processor = Tipsv2Processor.from_pretrained(folder / "hub")
    processor.image_processor.size = {"height": side, "width": side}
    rgb = picture(seed, size)
    if own_values:  # as a mask that leaves each token itself
        model.vision_model.encoder.layer[-1].register_forward_pre_hook(
            lambda _, entering: (entering[0], torch.full([entering[0].shape[1]] * 2, -torch.inf).fill_diagonal_(0))
        )
    tokens = model.vision_model(**processor.image_processor(images=rgb, return_tensors="pt")).last_hidden_state
    cells = side // 14
    theirs = F.normalize(tokens[0, 2:], dim=1).T.reshape(1, -1, cells, cells)
    yield ours.encode_tiles(ours.plan(rgb).tiles)[0], theirs
    rows = torch.from_numpy(words_of(ours).encode_texts(TEXTS))
    yield rows, model.get_text_features(**processor(text=TEXTS, return_tensors="pt")).pooler_output


@torch.inference_mode()
def sam2(seed: int, size: tuple[int, int], edge: bool = False) -> float:
    """Masks of prompts and their qualities, and an object followed through frames. `edge`: EdgeTAM, in video only."""
    with TemporaryDirectory() as folder:
        # Weights of 0.1 amplify the rounding of float32 a thousandfold in some seeds.
        sam2_small.save(Path(folder) / "hub", seed, edge, noise=0.06)
        ours = _imported("sam2", Path(folder))
        pairs = list(_followed(Path(folder) / "hub", ours, seed, size, edge))
        if not edge:
            pairs += _prompted(Path(folder) / "hub", ours, picture(seed, size))
        return difference(pairs)


def inputs_of(prompt: Prompt) -> dict[str, object]:
    """Points and box of a prompt as transformers' processors take them."""
    named: dict[str, object] = {}
    if prompt.points:
        named["input_points"] = [[[[point.x, point.y] for point in prompt.points]]]
        named["input_labels"] = [[[int(point.positive) for point in prompt.points]]]
    if prompt.box is not None:
        named["input_boxes"] = [[list(prompt.box)]]
    return named


def _prompted(hub: Path, ours: Segmenter, rgb: NDArray[np.uint8]) -> Pairs:
    from transformers import Sam2Model, Sam2Processor

    model, processor = Sam2Model.from_pretrained(hub).eval(), Sam2Processor.from_pretrained(hub)
    for prompt in PROMPTS:
        inputs = processor(images=Image.fromarray(rgb), **inputs_of(prompt), return_tensors="pt")
        del inputs["original_sizes"]
        theirs = model(**inputs, multimask_output=prompt.is_lone_click)
        (mine,) = prompts_of(ours).prompt(ours.encode(rgb), [prompt])
        order = theirs.iou_scores[0, 0].argsort(descending=True)
        yield mine.quality, theirs.iou_scores[0, 0][order]
        yield mine.masks, theirs.pred_masks[0, 0][order]


def _followed(hub: Path, ours: Segmenter, seed: int, size: tuple[int, int], edge: bool) -> Pairs:
    from transformers import EdgeTamVideoModel, Sam2VideoModel, Sam2VideoProcessor

    kind = EdgeTamVideoModel if edge else Sam2VideoModel
    model, processor = kind.from_pretrained(hub).eval(), Sam2VideoProcessor.from_pretrained(hub)
    session, follower = processor.init_video_session(dtype=torch.float32), Follower()
    for place in range(FRAMES):
        rgb = np.roll(picture(seed, size), 3 * place, 1)
        frame = processor(images=Image.fromarray(rgb), return_tensors="pt")["pixel_values"][0]
        if not place:
            processor.process_new_points_or_boxes_for_video_frame(
                session, frame_idx=0, obj_ids=[3], original_size=size, **inputs_of(BOX)
            )
        theirs = model(session, frame=frame)
        (sight,) = follower.step(ours, ours.encode(rgb), [] if place else [Start(3, BOX)])
        if (sight.mask is None) == bool(theirs.object_score_logits > 0 or not place):
            yield torch.ones(1), torch.zeros(1)  # one of both lost the object
        elif sight.mask is not None:
            yield sight.mask.masks, theirs.pred_masks[0]
            yield sight.mask.quality, theirs.object_score_logits.sigmoid().view(1)


@torch.inference_mode()
def sam3(seed: int, size: tuple[int, int], light: bool = False) -> float:
    """Scores, masks and semantic maps of words. `light`: with the small text tower."""
    from transformers import Sam3LiteTextModel, Sam3Model, Sam3Processor

    with TemporaryDirectory() as folder:
        hub = Path(folder) / "hub"
        sam3_small.save(hub, seed, light)
        ours, rgb = _imported("sam3", Path(folder)), picture(seed, size)
        assert isinstance(ours, Sam3Segmenter)
        model = (Sam3LiteTextModel if light else Sam3Model).from_pretrained(hub).eval()
        processor, pairs = Sam3Processor.from_pretrained(hub), []
        words = bank_of(ours, tuple(map(ClassEntry, WORDS)))
        for word, mine in zip(WORDS, ours._detect(ours.encode(rgb), words), strict=True):
            theirs = model(**processor(images=Image.fromarray(rgb), text=word, return_tensors="pt"))
            pairs += [
                (mine.score, theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()),
                (mine.masks, theirs.pred_masks),
                (mine.semantic, theirs.semantic_seg[:, 0]),
            ]
        return difference(pairs)


edgetam = partial(sam2, edge=True)
sam3_litetext = partial(sam3, light=True)


def _imported(method: str, folder: Path, size: InputSize | None = None, **settings: Any) -> Segmenter:
    """The files in `hub`, imported and loaded in float32."""
    own = methods()[method]
    made = importing.import_model(own, "mine", importing.read_options(own, {"checkpoint": folder / "hub"}), folder)
    card = catalogue.read_card(made)
    changes: dict[str, Any] = {"settings": {**card.settings, **settings}} | ({"input": size} if size else {})
    return catalogue.load_folder(made, "cpu", "exact", card.model_copy(update=changes))
