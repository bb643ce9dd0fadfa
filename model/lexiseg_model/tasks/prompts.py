"""The task of methods that take points and boxes: every mask of every prompt, and what it shows where that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from lexiseg_model.errors import OptionError
from lexiseg_model.features import Features
from lexiseg_model.masks.cut import cut
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.rle import encode_spans, measure_spans
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks import negative_points
from lexiseg_model.tasks.cut_outs import CutOut, laid_out, segments_of
from lexiseg_model.tasks.negative_points import Answer
from lexiseg_model.tasks.options import Options, check_vocabulary
from lexiseg_model.types import Prompt, Rle, Segmentation, Vocabulary

PROMPTS_AT_ONCE = 32  # whose masks are in memory before they are run lengths
CLOSE = 32  # prompts of a request whose small objects are looked at closer: of more, time would have no bound
CLOSE_AT_ONCE = 8  # boxes that may be looked at before somebody asks whether anybody still waits


def prompted(
    segmenter: Segmenter, features: Features, vocabulary: Vocabulary, options: Options, rows_of: RowsOf
) -> Segmentation:
    """All masks of every prompt, best first, in the order of the prompts; they may overlap.

    Without classes no text is read: labels are null, the score is the quality. With classes a segment has the label of
    its best class, and its score is that class's probability among classes and nobody; where nobody wins the label is
    null and the score the quality. So it is for a mask without pixels, which is answered, too: its area is 0, its box
    zeros.

    A negative point removes the part of the mask around it and never adds anything (`negative_points`).

    Where objects are followed through a video, `prompt_index` is the place of an object among them; lost ones are left
    out.

    Where `options` leave the label map out it is [0, 0]; where they leave confidence out, too, it is not found out
    whether segments overlap, and masks have counts only if these are kept. `options.check` is called between prompts
    and masks.

    Raises:
        OptionError: there are no prompts, a threshold is set beside classes without a background, or masks are to be
            refined and the method keeps nothing to refine them by.
        TaskError: the method takes no prompts, does not name masks, or follows no objects.
    """
    if not options.prompts and options.follow is None:
        raise OptionError("the task prompt needs at least one prompt, none came")
    if vocabulary.classes:
        check_vocabulary(vocabulary, options)
    masks = list(_masks(segmenter, features, options, bool(vocabulary.classes)))
    return segments_of("prompt", masks, segmenter, features, vocabulary, options, rows_of)


def _masks(segmenter: Segmenter, features: Features, options: Options, named: bool) -> Iterator[CutOut]:
    """Every mask of every prompt as run lengths, some prompts at a time."""
    encode = encode_spans if options.keep_counts or laid_out(options) else measure_spans
    for prompts, answers in _answers(segmenter, features, options):
        logits, qualities = _mask_logits(segmenter, features, answers, options)
        rles: list[Rle] = []
        for mask in logits.cpu().numpy():
            options.check()
            rles.append(encode(cut(mask, features.size), features.size))
        visible = [number for number, rle in enumerate(rles) if rle.area]
        embeddings: dict[int, Tensor] = {}
        if named and visible:
            embeddings = dict(
                zip(visible, torch.split(segmenter.embed_masks(features, logits[visible]), 1), strict=True)
            )
        places = [
            (prompt, number, quality)
            for prompt, of_prompt in zip(prompts, qualities, strict=True)
            for number, quality in enumerate(of_prompt.tolist())
        ]
        for number, (place, rle) in enumerate(zip(places, rles, strict=True)):
            kept_logits = logits[number].half() if options.keep_probability else None
            yield CutOut(*place, rle, embeddings.get(number), kept_logits)


def _answers(
    segmenter: Segmenter, features: Features, options: Options
) -> Iterator[tuple[Sequence[int], list[Answer]]]:
    """Some prompts, or objects, by their places, and their masks."""
    if options.follow is not None:
        seen = {place: masks for place, masks in enumerate(options.follow(segmenter, features)) if masks is not None}
        if seen:
            yield list(seen), [Answer(Prompt(), masks) for masks in seen.values()]
        return
    for places in _turns(options.prompts):
        options.check()
        some = [options.prompts[place] for place in places]
        if places.start >= CLOSE:
            some = [replace(prompt, glance=True) for prompt in some]
        yield places, negative_points.ask(segmenter, features, some)


def _turns(prompts: Sequence[Prompt]) -> Iterator[range]:
    """Places of prompts that are asked together; none holds both some of the first CLOSE and others."""
    boxes = any(prompt.box is not None for prompt in prompts[:CLOSE])
    close = range(0, min(CLOSE, len(prompts)), CLOSE_AT_ONCE if boxes else PROMPTS_AT_ONCE)
    starts = [*close, *range(CLOSE, len(prompts), PROMPTS_AT_ONCE), len(prompts)]
    for start, end in pairwise(starts):
        yield range(start, end)


def _mask_logits(
    segmenter: Segmenter, features: Features, answers: Sequence[Answer], options: Options
) -> tuple[Tensor, list[Tensor]]:
    """Logits [N, h, w] of the masks of all prompts, refined where that is asked; quality [M] for each prompt."""
    options.check()
    parts = [answer.masks.masks for answer in answers]
    masks = (parts[0] if len(parts) == 1 else torch.cat(parts)).float()
    if (options.refine or segmenter.card.refine) == "pamr":
        masks = refine_masks(masks, segmenter.guide(features))
    if any(answer.without is not None for answer in answers):
        of_each = masks.split_with_sizes([len(part) for part in parts])
        pairs = zip(of_each, answers, strict=True)
        masks = torch.cat([negative_points.without_negatives(some, answer, features.size) for some, answer in pairs])
    return masks, [answer.masks.quality for answer in answers]
