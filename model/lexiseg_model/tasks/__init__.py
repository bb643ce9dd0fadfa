"""The tasks, built once over the Segmenter interface: semantic, instance, panoptic, prompt, everything.

Arguments of all: a model, the features of an image, a vocabulary, `Options`, and where text rows come from (the model's
own tower when None).
"""

from __future__ import annotations

from lexiseg_model.errors import TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import RowsOf, Segmenter
from lexiseg_model.tasks.everything import everything
from lexiseg_model.tasks.options import Follow, Options
from lexiseg_model.tasks.pixels import connected_regions, semantic
from lexiseg_model.tasks.prompts import prompted
from lexiseg_model.tasks.proposals import merged_named_masks, merged_proposals
from lexiseg_model.types import Segmentation, Task, Vocabulary

__all__ = ["Follow", "Options", "segment", "semantic"]


def segment(
    task: Task,
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """Runs a task by its name.

    Args:
        task: what is wanted; instances and panoptic segments are found as the model's card says, and in a video
            (`options.steady`) always as connected regions.
        segmenter: the model.
        features: of the image.
        vocabulary: at least one class; prompts and everything may do without.
        options: threshold, refinement, confidence, prompts.
        rows_of: where text rows come from; the segmenter's tower when None.

    Raises:
        TaskError: the model's card does not name the task.
        OptionError: as the task itself.
    """
    if task not in segmenter.card.tasks:
        raise TaskError(f"{segmenter.card.name} cannot do the task {task!r}; it can: {', '.join(segmenter.card.tasks)}")
    rows_of = rows_of or segmenter.encode_texts
    if task == "semantic":
        return semantic(segmenter, features, vocabulary, options, rows_of)
    if task == "prompt":
        return prompted(segmenter, features, vocabulary, options, rows_of)
    if task == "everything":
        return everything(segmenter, features, vocabulary, options, rows_of)
    # In a video segments come from pixels, whose scores can be averaged: proposals of single frames would flicker.
    if segmenter.masks_by_word and options.steady is None:
        return merged_named_masks(task, segmenter, features, vocabulary, options, rows_of)
    if segmenter.card.panoptic.source == "proposals" and options.steady is None:
        return merged_proposals(task, segmenter, features, vocabulary, options, rows_of)
    return connected_regions(task, segmenter, features, vocabulary, options, rows_of)
