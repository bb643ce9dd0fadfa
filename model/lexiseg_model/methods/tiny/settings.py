"""The `settings` of a tiny card: rules for proposals, clicks, boxes, colours and examples."""

from __future__ import annotations

from pydantic import Field

from lexiseg_model.masks.crumbs import CrumbRule
from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.types import StrictModel


class ProposalSettings(StrictModel):
    """A grid of points asks for everything; four masks answer each, those good enough and not yet there are kept.

    `explains`, `inside`, `hope` and `most` were tuned on training photographs for the IoU of objects with their best
    proposal and for the share of the image that proposals cover.
    """

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    quality: float = Field(0.4, ge=0, le=1, description="predicted quality from which a mask is kept")
    rule: OverlapRule = OverlapRule()
    explains: float = Field(
        0.5, ge=0, le=1, description="points inside kept masks up to this share of the image are skipped; 0: none are"
    )
    inside: float = Field(2.0, ge=0, description="mask logit from which a point counts as inside")
    hope: float = Field(
        0.22, ge=0, le=1, description="expected quality from which a point is evaluated, after the first rank; 0: all"
    )
    most: int = Field(60, ge=1, description="budget of points; one in a window counts as its share of the image")


class ClickOrder(StrictModel):
    """Weights that order the four masks of a single click; the predicted quality has weight 1.

    Fitted on training photographs (`training/prompt_rules.py`); zeros: order by quality only.
    """

    stability: float = Field(0.9, description="of the share of its area, 0..1, that a mask keeps a logit higher")
    area: float = Field(-0.12, description="of the natural logarithm of a mask's share of the picture")
    edges: float = Field(0.2, description="of the mean change of normalised colour across a mask's outline")


class BoxRule(StrictModel):
    """Limits of the mask of a box to the box.

    Fitted on training photographs with tight and inexact boxes, by
    `python -m lexiseg_model.methods.tiny.training.prompt_rules`.
    """

    more: float = Field(0.0, description="added to the logits inside")
    doubt: float = Field(2.0, ge=0, description="times -ln(quality) is added as well")
    small: float = Field(24.0, ge=0, description="divided by the cells of the box is added as well")
    slack: float = Field(0.02, ge=0, description="share of a side that a mask may extend beyond it")


class LookRule(StrictModel):
    """Which boxes are looked at closer, and how close; chosen on training photographs (docs/tiny-ablation.md)."""

    around: float = Field(2.0, ge=1, description="of the sides of a box, that are looked at")
    side: float = Field(224.0, gt=0, description="of a square as large as what the network is given, in pixels")
    most: float = Field(2.5, ge=1, description="times as large as in the whole picture")
    least: float = Field(1.25, ge=1, description="likewise: where it would be less, the whole picture is enough")
    boxes: BoxRule = Field(BoxRule(doubt=1.0), description="how these masks are kept inside of their boxes")


class OwnColours(StrictModel):
    """Refinement of a mask by the colours inside and around it; fitted with the rules of boxes."""

    weight: float = Field(3.0, ge=0, description="of the logarithm of the ratio of a colour's shares")
    bound: float = Field(3.0, gt=0, description="of logits, before they are smoothed along edges")
    ring: float = Field(0.25, gt=0, description="margin around the box or mask that counts as outside, in its sides")


class ExampleRule(StrictModel):
    """Scale of the vector of a class by example, relative to those of texts, which have length 1.

    Pixels are more similar to pixels than to texts: at `length` 1 a class by example would win pixels of text classes.
    Varied objects have lower cosines: `level` compensates for it. All values were tuned on training photographs.
    """

    length: float = Field(0.7, gt=0, description="of the vectors of a class whose pixels are all alike")
    level: float = Field(0.5, ge=0, le=1, description="0: no matter how alike; 1: all score the same on their examples")
    own: float = Field(0.35, ge=0, le=1, description="of each example in its vector, beside what all have in common")
    apart: float = Field(0.45, ge=0, description="of the mean of an example's picture, taken from its direction")
    words: float = Field(0.75, ge=0, description="of the known words that an example is like, in its vector")
    beside_words: float = Field(0.75, gt=0, description="of the vectors, if the class is asked by words as well")


class TinySettings(StrictModel):
    """Settings of a card of this method."""

    presence: float = Field(0.3, ge=0, description="of a class's presence (its logarithm) in the logits of its pixels")
    proposals: ProposalSettings = ProposalSettings()
    clicks: ClickOrder = ClickOrder()
    boxes: BoxRule = BoxRule()
    looks: LookRule = LookRule()
    colours: OwnColours = OwnColours()
    crumbs: CrumbRule = CrumbRule()
    examples: ExampleRule = ExampleRule()
