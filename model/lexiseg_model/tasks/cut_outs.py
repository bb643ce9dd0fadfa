"""The tasks prompt and everything: the model predicts the masks itself, and they may overlap.

Without classes no text is encoded: labels are null, and the score is the quality. With classes a mask gets the label of
its best class, and its score is that class's probability among the classes and the background. If the background wins,
or the mask has no pixels, the label is null and the score is the quality.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import PromptMasks, guide_of, proposing, regions_of
from lexiseg_model.errors import FieldError, OptionError, ShapeError
from lexiseg_model.internal import prompt_masks
from lexiseg_model.masks.pamr import refine_masks
from lexiseg_model.masks.rle import decode, decode_spans, encode_spans
from lexiseg_model.masks.upsample import cut
from lexiseg_model.tasks.mask_prompts import MAX_ANSWERS, correct
from lexiseg_model.tasks.options import Query
from lexiseg_model.tasks.pixels import semantic
from lexiseg_model.types import LabelMap, Prompt, Rle, Segment, Segmentation, Task
from lexiseg_model.vocabulary.scoring import score_regions

MASKS_AT_ONCE = 32  # masks, or passes through the prompt head, between two calls of `Options.check`
MAX_CLOSER_LOOKS = 32  # prompts with small objects that may be encoded again at a larger scale; bounds a request's time
SAME = 0.5  # IoU from which a mask prompt is a segment that was found
CLOSER_LOOKS_AT_ONCE = 8  # passes between two checks among these, if any has a box, which may be encoded again


class CutOut(NamedTuple):
    """One mask; `embedding` [1, D] if the request has classes, `logits` [h, w] if it wants the confidence."""

    prompt_index: int | None
    mask_index: int | None
    quality: float
    rle: Rle
    embedding: Tensor | None
    logits: Tensor | None
    source: Segment | None = None  # the segment that was corrected


class _Name(NamedTuple):
    label: str | None
    class_index: int | None
    score: float
    min_score: float  # below which the mask is dropped


def prompted(query: Query) -> Segmentation:
    """All masks of every prompt, best first, in the order of the prompts; empty masks included.

    Where objects are followed through a video, `prompt_index` is the place of an object among them; lost ones are left
    out. Errors as `tasks.answer`.
    """
    if not query.options.prompts and query.options.follow is None:
        raise OptionError("the task prompt needs at least one prompt, none came")
    if query.vocabulary.classes:
        query.check_vocabulary()
    masks = list(_prompted(query))
    if any(prompt.corrects for prompt in query.options.prompts):
        masks = sorted([*masks, *_corrected(query)], key=lambda mask: mask.prompt_index or 0)
    return _segmentation("prompt", masks, query)


def everything(query: Query) -> Segmentation:
    """Every proposal that has pixels at the image's size, best first. Errors as `tasks.answer`."""
    if query.vocabulary.classes:
        query.check_vocabulary()
    query.options.check()
    return _segmentation("everything", [mask for mask in _proposed(query) if mask.rle.area], query)


def _prompted(query: Query) -> Iterator[CutOut]:
    for prompts, answers in _answers(query):
        query.options.check()
        masks = torch.cat([answer.masks for answer in answers]).float()
        logits = refine_masks(masks, guide_of(query.segmenter, query.features)) if query.refine == "pamr" else masks
        rles = [_encoded(mask, query) for mask in logits.cpu()]
        visible = [number for number, rle in enumerate(rles) if rle.area]
        embeddings: dict[int, Tensor] = {}
        if query.vocabulary.classes and visible:
            embedded = regions_of(query.segmenter).embed_masks(query.features, logits[visible])
            embeddings = dict(zip(visible, torch.split(embedded, 1), strict=True))
        places = [
            (prompt, number, quality)
            for prompt, answer in zip(prompts, answers, strict=True)
            for number, quality in enumerate(answer.quality.tolist())
        ]
        for number, (place, rle) in enumerate(zip(places, rles, strict=True)):
            half = logits[number].half() if query.options.keep_probability else None
            yield CutOut(*place, rle, embeddings.get(number), half)


def _corrected(query: Query) -> Iterator[CutOut]:
    """The one mask of each prompt that corrects a mask or a segment."""
    semantic_answer = _found_segments(query)
    segments = {} if semantic_answer is None else {segment.id: segment for segment in semantic_answer.segments}
    for place, prompt in enumerate(query.options.prompts):
        if not prompt.corrects:
            continue
        source = None if prompt.segment is None else segments.get(prompt.segment)
        if prompt.segment is not None and source is None:
            ids = ", ".join(map(str, segments)) or "none"
            raise FieldError(f"prompts.{place}.segment", str(prompt.segment), f"the id of a segment: {ids}")
        try:
            corrects = prompt if source is None else replace(prompt, mask=source.mask)
            corrected = correct(query, corrects, _other_labels(corrects, semantic_answer))
        except ShapeError as error:
            came = f"{len(prompt.mask.counts) if prompt.mask else 0} characters"
            raise FieldError(f"prompts.{place}.mask.counts", came, f"run lengths of a mask: {error}") from None
        embedding = None
        if source is None and query.vocabulary.classes and corrected.rle.area:
            embedding = regions_of(query.segmenter).embed_masks(query.features, corrected.logits[None])
        half = corrected.logits.half() if query.options.keep_probability else None
        yield CutOut(place, 0, corrected.quality, corrected.rle, embedding, half, source)


def _found_segments(query: Query) -> Segmentation | None:
    """The semantic answer, where a prompt names a segment of it, or corrects a mask in a request with classes."""
    prompts = query.options.prompts
    is_labelled = bool(query.vocabulary.classes) and any(prompt.mask is not None for prompt in prompts)
    if not is_labelled and all(prompt.segment is None for prompt in prompts):
        return None
    options = replace(query.options, prompts=(), keep_label_map=True, keep_probability=False)
    return semantic(replace(query, options=options))


def _other_labels(prompt: Prompt, semantic_answer: Segmentation | None) -> LabelMap | None:
    """[H, W] ids of all segments but the one that a prompt corrects, else 0; None if its mask is none of them. Raises
    ShapeError as `decode`."""
    assert prompt.mask is not None
    if semantic_answer is None:
        return None
    own = prompt.segment
    if own is None:
        mask = decode(prompt.mask)
        shared = np.bincount(semantic_answer.label_map[mask], minlength=len(semantic_answer.segments) + 1)
        area = int(mask.sum())
        same = (
            one.id
            for one in semantic_answer.segments
            if shared[one.id] >= SAME * (area + one.mask.area - shared[one.id])
        )
        own = next(same, None)
    return None if own is None else np.where(semantic_answer.label_map == own, 0, semantic_answer.label_map)


def _proposed(query: Query) -> Iterator[CutOut]:
    proposals = proposing(query.segmenter).propose(query.features)
    for first in range(0, len(proposals.masks), MASKS_AT_ONCE):
        chunk = slice(first, first + MASKS_AT_ONCE)
        logits = proposals.masks[chunk].float()
        if query.refine == "pamr":
            logits = refine_masks(logits, guide_of(query.segmenter, query.features))
        embeddings = torch.split(proposals.embeddings[chunk], 1)
        for mask, quality, embedding in zip(logits.cpu(), proposals.quality[chunk].tolist(), embeddings, strict=True):
            half = mask.half() if query.options.keep_probability else None
            named = embedding if query.vocabulary.classes else None
            yield CutOut(None, None, quality, _encoded(mask, query), named, half)


def _encoded(mask: Tensor, query: Query) -> Rle:
    query.options.check()
    size = query.features.size
    return encode_spans(cut(mask.numpy(), size), size)


def _answers(query: Query) -> Iterator[tuple[Sequence[int], list[PromptMasks]]]:
    segmenter, features, options = query.segmenter, query.features, query.options
    if options.follow is not None:
        followed = {
            place: masks for place, masks in enumerate(options.follow(segmenter, features)) if masks is not None
        }
        if followed:
            yield list(followed), list(followed.values())
        return
    uncorrected = [place for place, prompt in enumerate(options.prompts) if not prompt.corrects]
    if not uncorrected:
        return
    for chunk in _chunks([options.prompts[place] for place in uncorrected]):
        options.check()
        places = [uncorrected[number] for number in chunk]
        chunk_prompts = [options.prompts[place] for place in places]
        if chunk.start >= MAX_CLOSER_LOOKS:
            chunk_prompts = [replace(prompt, single_pass=True) for prompt in chunk_prompts]
        yield places, prompt_masks(segmenter, features, chunk_prompts, places)


def _chunks(prompts: Sequence[Prompt]) -> Iterator[range]:
    """Indices of prompts that share a call of the head, which takes a bounded time; MAX_CLOSER_LOOKS parts chunks."""
    boxes = any(prompt.box is not None for prompt in prompts[:MAX_CLOSER_LOOKS])
    start = passes = 0
    for place, prompt in enumerate(prompts):
        at_once = CLOSER_LOOKS_AT_ONCE if boxes and place < MAX_CLOSER_LOOKS else MASKS_AT_ONCE
        own = 1 + min(len(prompt.negatives), MAX_ANSWERS)
        passes += own
        if place > start and (passes > at_once or place == MAX_CLOSER_LOOKS):
            yield range(start, place)
            start, passes = place, own
    yield range(start, len(prompts))


def _segmentation(task: Task, masks: Sequence[CutOut], query: Query) -> Segmentation:
    options, size = query.options, query.features.size
    names = _names(masks, query)
    confident = [(mask, name) for mask, name in zip(masks, names, strict=True) if name.score >= name.min_score]
    ids = _ids([mask for mask, _ in confident])
    segments = tuple(
        Segment(
            number,
            name.label,
            name.class_index,
            name.score,
            mask.rle,
            prompt_index=mask.prompt_index,
            mask_index=mask.mask_index,
            quality=mask.quality,
        )
        for number, (mask, name) in zip(ids, confident, strict=True)
    )
    label_map: LabelMap = np.zeros((0, 0), np.uint8)
    if not (options.keep_label_map or options.keep_probability):  # overlaps need the run lengths of all masks
        return Segmentation(size, task, segments, label_map)
    rles = [segment.mask for segment in segments]
    overlapping = are_overlapping(rles, size, options.check)
    visible = _visible([mask for mask, _ in confident]) if overlapping else range(len(confident))
    probability = None
    if options.keep_probability:
        logits = [mask for number in visible if (mask := confident[number][0].logits) is not None]
        probability = confidence(logits, size)
    if options.keep_label_map:
        label_map = painted([(segments[number].id, rles[number]) for number in visible], size, options.check)
    return Segmentation(size, task, segments, label_map, probability, overlapping)


def _ids(masks: Sequence[CutOut]) -> list[int]:
    """A different id for each mask; that of a corrected segment for its first correction."""
    of_segments = {mask.source.id for mask in masks if mask.source is not None}
    free_ids = (number for number in count(1) if number not in of_segments)
    ids: list[int] = []
    for mask in masks:
        source_id = None if mask.source is None or mask.source.id in ids else mask.source.id
        ids.append(next(free_ids) if source_id is None else source_id)
    return ids


def _visible(masks: Sequence[CutOut]) -> Sequence[int]:
    """Indices of the overlapping masks in a label map, top first: each prompt's best; or all by area."""
    prompts = [mask.prompt_index for mask in masks if mask.prompt_index is not None]
    if len(prompts) == len(masks):
        _, first = np.unique(prompts, return_index=True)
        return [int(number) for number in first]
    return sorted(range(len(masks)), key=lambda number: masks[number].rle.area)


def _names(masks: Sequence[CutOut], query: Query) -> list[_Name]:
    vocabulary, options = query.vocabulary, query.options
    names = [
        _Name(None, None, mask.quality, options.min_score(None))
        if mask.source is None
        else _Name(mask.source.label, mask.source.class_index, mask.source.score, 0.0)
        for mask in masks
    ]
    embeddings = {number: mask.embedding for number, mask in enumerate(masks) if mask.embedding is not None}
    if not embeddings:
        return names
    logits = score_regions(
        query.segmenter, query.features, vocabulary, query.bank, torch.cat(list(embeddings.values()))
    )
    scores, winners = logits.softmax(0).max(0)
    for number, score, index in zip(embeddings, scores.tolist(), winners.tolist(), strict=True):
        if index < len(vocabulary.classes):  # else the background
            entry = vocabulary.classes[index]
            names[number] = _Name(entry.name, index, score, options.min_score(entry.threshold))
    return names


def painted(
    masks: Sequence[tuple[int, Rle]], size: tuple[int, int], check: Callable[[], None] = lambda: None
) -> LabelMap:
    """Paint masks of `size` (H, W), each with a value of 1 to 65,535, into a label map uint8, or uint16 if a value
    needs it, earlier ones on top; 0 where there is no mask. `check` may raise to cancel."""
    largest = max((value for value, _ in masks), default=0)
    labels: LabelMap = np.zeros(size[0] * size[1], np.uint8 if largest < 256 else np.uint16)
    for value, mask in reversed(masks):
        check()
        _paint(labels, mask, value)
    return np.ascontiguousarray(labels.reshape(size[1], size[0]).T)


def are_overlapping(masks: Sequence[Rle], size: tuple[int, int], check: Callable[[], None] = lambda: None) -> bool:
    """Whether any two masks share a pixel; `check` as in `painted`."""
    if sum(mask.area for mask in masks) > size[0] * size[1]:
        return True
    covered = np.zeros(size[0] * size[1], np.bool_)
    for mask in masks:
        check()
        _paint(covered, mask, True)
    return int(covered.sum()) < sum(mask.area for mask in masks)


def _paint(columns: NDArray[np.generic], mask: Rle, value: int | bool) -> None:
    """Paint the runs of a mask into a column-major image [W * H]."""
    for start, end in decode_spans(mask).tolist():
        columns[start:end] = value


def confidence(logits: Sequence[Tensor], size: tuple[int, int]) -> NDArray[np.float32]:
    """Confidence [H, W] in 0.5..1 of each pixel being inside one of the masks, logits [h, w] each, or outside all: the
    sigmoid of the highest logit's absolute value, 1 without masks."""
    if not logits:
        return np.ones(size, np.float32)
    highest = torch.stack(tuple(logits)).amax(0).float().cpu()
    distance = F.interpolate(highest[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    return np.asarray(distance.abs().sigmoid_().numpy(), np.float32)
