"""Every Segmenter, each in one line: a new method adds its own, and the whole suite asks it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Precision
from tests.falcon import small as falcon
from tests.model.methods.dense_clip import small as dense_clip
from tests.model.methods.s_seg import small as s_seg
from tests.model.methods.s_seg_plus import small as s_seg_plus
from tests.model.methods.sam2 import small as sam2
from tests.model.methods.sam3 import small as sam3
from tests.model.methods.tcl import small as tcl
from tests.model.methods.tiny import small as tiny
from tests.model.methods.tipsv2 import small as tipsv2
from tests.model.methods.unpair_seg import small as unpair_seg
from tests.model.stand_in import ColourSegmenter
from tests.model.tasks.asking import ALL


class Model(NamedTuple):
    """A method's model, as small as it comes: what it says it does, and the precisions that it has."""

    load: Callable[[Precision], Segmenter]
    masks: bool = False  # proposes masks, and says what any masks show
    prompts: bool = False
    examples: bool = False  # takes classes by example
    fuses: bool = False  # words and examples of a class, in each picture
    words: bool = True  # takes classes
    precisions: tuple[Precision, ...] = ("fast", "exact")


MODELS: dict[str, Model] = {
    "stand-in": Model(
        lambda _: ColourSegmenter(tasks=ALL), masks=True, prompts=True, examples=True, precisions=("fast",)
    ),
    "tiny": Model(tiny.segmenter, masks=True, prompts=True, examples=True),
    "dense_clip": Model(dense_clip.segmenter, examples=True, fuses=True),
    "corrclip": Model(dense_clip.corr_segmenter, examples=True, fuses=True),
    "trident": Model(dense_clip.trident_segmenter, examples=True, fuses=True),
    "tcl": Model(tcl.segmenter, examples=True),
    "unpair_seg": Model(unpair_seg.segmenter, masks=True, prompts=True, examples=True, fuses=True),
    "s_seg": Model(lambda precision: s_seg.small_segmenter(precision=precision), masks=True, examples=True, fuses=True),
    "s_seg_plus": Model(s_seg_plus.segmenter),
    "tipsv2": Model(tipsv2.segmenter, examples=True, fuses=True),
    "sam2": Model(sam2.segmenter, prompts=True, words=False),
    "sam3": Model(sam3.segmenter, prompts=True),
    "falcon_perception": Model(falcon.segmenter),
}


class Case(NamedTuple):
    name: str  # in `MODELS`
    precision: Precision

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"


def cases(precision: Precision) -> list[Case]:
    return [Case(name, precision) for name, model in MODELS.items() if precision in model.precisions]


FAST, EXACT = cases("fast"), cases("exact")


def asked_of(applies: Callable[[Model], bool], cases: list[Case] = FAST) -> pytest.MarkDecorator:
    """Marks a test that some of the models are asked, as they are served or as `EXACT`."""
    some = [case for case in cases if applies(MODELS[case.name])]
    return pytest.mark.parametrize("loaded", some, indirect=True, ids=str)
