"""The tasks (semantic, instance, panoptic, prompt, everything), built once over the Segmenter interface."""

from __future__ import annotations

from lexiseg_model.abilities import Detection
from lexiseg_model.errors import TaskError
from lexiseg_model.features import Features
from lexiseg_model.segmenter import RowsOf, Segmenter, words_of
from lexiseg_model.tasks.cut_outs import everything, prompted
from lexiseg_model.tasks.options import Follow, Options, Query, checked_by
from lexiseg_model.tasks.pixels import semantic
from lexiseg_model.tasks.proposals import merged_masks
from lexiseg_model.tasks.regions import connected_regions
from lexiseg_model.types import Segmentation, Task, Vocabulary

__all__ = ["Follow", "Options", "Query", "answer", "segment"]


def segment(
    task: Task,
    segmenter: Segmenter,
    features: Features,
    vocabulary: Vocabulary,
    options: Options = Options(),
    rows_of: RowsOf | None = None,
) -> Segmentation:
    """As `answer`; `rows_of` None: the segmenter's own text tower."""
    # Tasks without words do not ask for rows.
    encode = rows_of or (lambda texts: words_of(segmenter).encode_texts(texts))
    return answer(task, Query(segmenter, features, vocabulary, options, encode))


def answer(task: Task, query: Query) -> Segmentation:
    """Answer one question about one image.

    Args:
        task: instances and panoptic segments are found as the model's card says; in a video (`options.steady`) they are
            connected regions, because proposals of single frames would flicker.
        query: with at least one class, except for the tasks prompt and everything.

    Raises:
        TaskError: the model's card does not name the task, or the model cannot do what the question needs.
        OptionError: a vocabulary without a class; a threshold although every pixel must get one; the task prompt
            without prompts; masks to be refined by colours that the model does not keep; and its kinds.
    """
    segmenter, options = query.segmenter, query.options
    if task not in segmenter.card.tasks:
        raise TaskError(f"{segmenter.card.name} cannot do the task {task!r}; it can: {', '.join(segmenter.card.tasks)}")
    with checked_by(options.check):
        if task == "semantic":
            return semantic(query)
        if task == "prompt":
            return prompted(query)
        if task == "everything":
            return everything(query)
        has_masks = isinstance(segmenter, Detection) or segmenter.card.panoptic.source == "proposals"
        return merged_masks(task, query) if has_masks and options.steady is None else connected_regions(task, query)
