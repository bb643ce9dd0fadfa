"""The `settings` of a tiny card: rules for proposals, boxes and examples."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from lexiseg_model.cards import StrictModel
from lexiseg_model.masks.nms import OverlapRule
from lexiseg_model.masks.parts import CrumbRule

OLD = ("clicks", "colours")


class ProposalSettings(StrictModel):
    """Proposals from a grid of points, tuned on training photographs: of four masks each the good ones stay."""

    grid: int = Field(20, ge=1, le=64, description="points along each side of the image")
    quality: float = Field(0.4, ge=0, le=1, description="predicted quality from which a mask is kept")
    rule: OverlapRule = OverlapRule()
    explains: float = Field(
        0.5, ge=0, le=1, description="points inside kept masks up to this share of the image are skipped; 0: none are"
    )
    inside: float = Field(2.0, ge=0, description="mask logit from which a point counts as inside")
    min_expected: float = Field(
        0.22, ge=0, le=1, description="expected quality from which a point is evaluated, after the first rank; 0: all"
    )
    max_points: int = Field(60, ge=1, description="budget of points; one in a window counts as its share of the image")


class BoxRule(StrictModel):
    """Limits of the mask of a box, chosen on training photographs."""

    low_quality: float = Field(2.0, ge=0, description="weight of -ln(quality), added to the logits inside")
    small: float = Field(24.0, ge=0, description="logit added inside, divided by the area of the box in cells")
    slack: float = Field(0.02, ge=0, description="share of a side that a mask may extend beyond it")


class LookRule(StrictModel):
    """Which boxes get an enlarged crop (`closer_look`), and how large; chosen on training photographs."""

    around: float = Field(2.0, ge=1, description="sides of the crop, in sides of the box")
    side: float = Field(224.0, gt=0, description="side in pixels of a square with the area of the crop's input")
    max_zoom: float = Field(2.5, ge=1, description="largest enlargement, relative to the input for the whole image")
    min_zoom: float = Field(1.25, ge=1, description="smallest enlargement; below it the whole image serves")
    boxes: BoxRule = Field(BoxRule(low_quality=1.0), description="limits of these masks to their boxes")


class ExampleRule(StrictModel):
    """Scale of the vector of a class by example, relative to texts', which have length 1; tuned on photographs.

    Pixels are more similar to pixels than to texts; varied objects have lower cosines, which `level` compensates.
    """

    length: float = Field(0.7, gt=0, description="length of the vector of a class whose pixels are all alike")
    level: float = Field(
        0.5, ge=0, le=1, description="effect of how varied examples are; 1: all classes score alike on theirs"
    )
    own: float = Field(
        0.35, ge=0, le=1, description="weight of an example's own direction in its vector, beside the mean of all"
    )
    apart: float = Field(
        0.45, ge=0, description="weight of the mean of an example's image, subtracted from its direction"
    )
    words: float = Field(
        0.75, ge=0, description="weight of the training words most similar to an example, in its vector"
    )
    beside_words: float = Field(0.75, gt=0, description="scale of the vectors of a class that has words as well")


class TogetherRule(StrictModel):
    """How the words of a question compete (`together`); fitted on training photographs."""

    full: int = Field(6, ge=2, description="words up to which the whole rule holds")
    until: int = Field(20, ge=3, description="words from which nothing of it holds")
    surest: int = Field(200, ge=1, description="one cell of so many says how high a word's scores are")
    raised: float = Field(0.35, ge=0, le=1, description="share of the way to the best word that a word is raised")
    most: float = Field(8.0, ge=0, description="longest way, in logits")
    prototype: int = Field(100, ge=1, description="one cell of so many is what the others are compared with")
    mixed: float = Field(0.22, gt=0, le=1, description="share of that likeness in a word's scores")


class Parts(StrictModel):
    """Parts of the same kinds of things (`part_of_whole`)."""

    wholes: frozenset[str] = Field(description="names of the things, in lower case; a plural by s is the same name")
    directions: dict[str, int] = Field(
        description="row of the weights' directions for each of their parts, by name; -1: none, texts decide"
    )


class TinySettings(StrictModel):
    """Settings of a card of this method."""

    @model_validator(mode="before")
    @classmethod
    def _without_old_rules(cls, values: Any) -> Any:
        """Cards of 0.3 state rules that are gone."""
        return (
            {name: value for name, value in values.items() if name not in OLD} if isinstance(values, dict) else values
        )

    presence: float = Field(0.3, ge=0, description="weight of the log presence of a class in the logits of its pixels")
    proposals: ProposalSettings = ProposalSettings()
    boxes: BoxRule = BoxRule()
    looks: LookRule = LookRule()
    crumbs: CrumbRule = CrumbRule()
    examples: ExampleRule = ExampleRule()
    together: TogetherRule = TogetherRule()
    parts: list[Parts] = Field([], description="things with parts, by name, and the directions of these")
    taught: list[str] = Field(
        [], description="classes that the weights were tuned on, in the order of their directions"
    )
