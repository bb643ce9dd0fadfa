"""`settings` of a card of method tiny: proposals, order of a click's masks, boxes, weights of examples, specks."""

from __future__ import annotations

from pydantic import Field

from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.masks.specks import CrumbRule, SpeckRule
from lexiseg_model.types import StrictModel


class ProposalSettings(StrictModel):
    """A grid of points asks for everything; four masks answer each, those good enough and not yet there are kept.

    `explains`, `inside`, `hope` and `most` were chosen on training photographs by the IoU of objects with the best
    proposal and the share of the picture that proposals cover.
    """

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    quality: float = Field(0.4, ge=0, le=1, description="predicted quality from which a mask is kept")
    rule: OverlapRule = OverlapRule()
    explains: float = Field(
        0.5, ge=0, le=1, description="of the image, the largest mask whose inside is not asked again; 0: all are asked"
    )
    inside: float = Field(2.0, ge=0, description="the logit from which a point is inside of it")
    hope: float = Field(
        0.22,
        ge=0,
        le=1,
        description="expected quality of its best mask from which a point is asked, after the first rank; 0: all",
    )
    most: int = Field(
        60,
        ge=1,
        description="points asked in all, by what is expected of each; one in a window counts as its share of it",
    )


class ClickOrder(StrictModel):
    """By what the four masks of a lone click are put in order, beside the predicted quality, which counts 1.

    Fitted on training photographs (`training/prompt_rules.py`); zeros: the quality alone.
    """

    stability: float = Field(0.9, description="of the share of its area, 0..1, that a mask keeps a logit higher")
    area: float = Field(-0.12, description="of the natural logarithm of a mask's share of the picture")
    edges: float = Field(0.2, description="of the mean change of normalised colour across a mask's outline")


class BoxRule(StrictModel):
    """How the mask of a box is kept inside of it.

    Fitted on training photographs, boxes that are tight and some that are off, by
    `python -m lexiseg_model.methods.tiny.training.prompt_rules`.
    """

    more: float = Field(0.0, description="added to the logits inside")
    doubt: float = Field(2.0, ge=0, description="of -ln(quality), which is added, too")
    small: float = Field(24.0, ge=0, description="over the cells of the box, which is added, too")
    slack: float = Field(0.02, ge=0, description="of a side, that a mask may reach beyond it")


class LookRule(StrictModel):
    """Which boxes are looked at closer, and how close; chosen on training photographs (docs/tiny-ablation.md)."""

    around: float = Field(2.0, ge=1, description="of the sides of a box, that are looked at")
    side: float = Field(224.0, gt=0, description="of a square as large as what the network is given, in pixels")
    most: float = Field(2.5, ge=1, description="times as large as in the whole picture")
    least: float = Field(1.25, ge=1, description="likewise: where it would be less, the whole picture is enough")
    boxes: BoxRule = Field(BoxRule(doubt=1.0), description="how these masks are kept inside of their boxes")


class OwnColours(StrictModel):
    """How the colours of what a mask holds and of what it leaves out say more of it; fitted with those of boxes."""

    weight: float = Field(3.0, ge=0, description="of the logarithm of the ratio of a colour's shares")
    bound: float = Field(3.0, gt=0, description="of logits, before they are smoothed along edges")
    ring: float = Field(
        0.25, gt=0, description="of the sides of a box, or of what a mask holds: colours count so far around"
    )


class RegionVote(StrictModel):
    """What the vote of a proposal weighs beside that of a pixel: `weight` x its quality x alikeness ** `alike`.

    Alikeness is the length of the mean of the pixels' unit embeddings, 1 where they are all the same: a mask over a
    shirt and the skin beside it must not make them one.
    """

    weight: float = Field(3.0, ge=0)
    alike: float = Field(6.0, ge=0)


class ExampleRule(StrictModel):
    """How the vector of a class by example stands beside those of texts, which have length 1.

    Pixels are more like pixels than like words: at `length` 1 a class by example would take what words mean. Pixels of
    one thing are less alike than those of another: `level` is how far what is motley is made as sure of itself.
    All were chosen on training photographs.
    """

    length: float = Field(0.7, gt=0, description="of the vectors of a class whose pixels are all alike")
    level: float = Field(0.5, ge=0, le=1, description="0: no matter how alike; 1: all score the same on their examples")
    own: float = Field(0.35, ge=0, le=1, description="of each example in its vector, beside what all have in common")
    apart: float = Field(0.45, ge=0, description="of the mean of an example's picture, taken from its direction")
    words: float = Field(0.75, ge=0, description="of the known words that an example is like, in its vector")
    beside_words: float = Field(0.75, gt=0, description="of the vectors, if the class is asked by words as well")


class TinySettings(StrictModel):
    """What the card of a model of this method may set."""

    presence: float = Field(0.3, ge=0, description="of a class's presence (its logarithm) in the logits of its pixels")
    proposals: ProposalSettings = ProposalSettings()
    clicks: ClickOrder = ClickOrder()
    boxes: BoxRule = BoxRule()
    looks: LookRule = LookRule()
    colours: OwnColours = OwnColours()
    crumbs: CrumbRule = CrumbRule()
    regions: RegionVote = RegionVote()
    examples: ExampleRule = ExampleRule()
    specks: SpeckRule = SpeckRule()
