"""The task of methods that propose masks: all of them, asked with neither words nor prompts; words may name them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from lexiseg_model.features import Features
from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.rle import encode_spans, measure_spans
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks.cut_outs import CutOut, laid_out, segments_of
from lexiseg_model.tasks.options import Options, check_vocabulary
from lexiseg_model.types import Segmentation, Vocabulary

AT_ONCE = 32  # masks that are in memory at full precision before they are run lengths


def everything(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """Every proposal, best first; they may overlap.

    Without classes no text is read: labels are null, the score is the quality. With classes each has the label of its
    best class as masks of prompts have. Proposals without a pixel at the image's size are left out. `options.check` is
    called between masks.

    Raises:
        OptionError: a threshold is set beside classes without a background, or masks are to be refined and the method
            keeps nothing to refine them by.
        TaskError: the method proposes no masks.
    """
    if vocabulary.classes:
        check_vocabulary(vocabulary, options)
    options.check()
    masks = [mask for mask in _masks(segmenter, features, options, bool(vocabulary.classes)) if mask.rle.area]
    return segments_of("everything", masks, segmenter, features, vocabulary, options, rows_of)


def _masks(segmenter: Segmenter, features: Features, options: Options, named: bool) -> Iterator[CutOut]:
    encode = encode_spans if options.keep_counts or laid_out(options) else measure_spans
    proposals = segmenter.propose(features)
    refined = (options.refine or segmenter.card.refine) == "pamr"
    for first in range(0, len(proposals.masks), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        logits = proposals.masks[some].float()
        if refined:
            logits = refine_masks(logits, segmenter.guide(features))
        embeddings = torch.split(proposals.embeddings[some], 1)
        for mask, quality, embedding in zip(logits.cpu(), proposals.quality[some].tolist(), embeddings, strict=True):
            options.check()
            rle = encode(cut(mask.numpy(), features.size), features.size)
            kept = mask.half() if options.keep_probability else None
            yield CutOut(None, None, quality, rle, embedding if named else None, kept)
