"""Read model cards that a worker of another release sends.

JSON -> without unknown fields -> without values that this release does not know -> ModelCard

A card on disk is read strictly instead: there an unknown value is the user's mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_core import from_json

from lexiseg_model.cards import ModelCard

logger = structlog.get_logger("lexiseg.workers")
Place = tuple[int | str, ...]  # keys and indices from the card down to a value


@lru_cache(128)  # every status repeats the cards
def read_card(text: str) -> ModelCard | None:
    """A card without what only a newer release knows; None where nothing is left that a request could use.

    A value that is not understood is as if not sent; a required field goes with the object that it belongs to.
    """
    left_out: list[Place] = []
    try:
        card = _understood(from_json(text), left_out)
    except (ValueError, LookupError, TypeError):  # no JSON, or a required field of the card itself
        logger.exception("card not understood")
        return None
    if left_out:
        logger.warning(
            "card of another release", model=card.name, left_out=[".".join(map(str, place)) for place in left_out]
        )
    if not card.tasks:
        logger.error("card not understood", model=card.name, reason="it has no task that this release knows")
        return None
    return card


def _understood(values: Any, left_out: list[Place]) -> ModelCard:
    """The card of JSON values, from which is removed what does not validate; each round removes something."""
    while True:
        try:
            return ModelCard.model_validate(values, extra="ignore")
        except ValidationError as error:
            # From the back: the places before stay valid when an item of a list goes. A field that is missing takes the
            # object that needs it along.
            places = sorted(
                {each["loc"][:-1] if each["type"] == "missing" else each["loc"] for each in error.errors()}, key=_order
            )
            for place in reversed(places):
                _remove(values, place)
            left_out += places


def _order(place: Place) -> list[tuple[bool, int | str]]:
    return [(isinstance(step, str), step) for step in place]


def _remove(values: Any, place: Sequence[int | str]) -> None:
    """Remove one value. Raises LookupError: it is the card itself, or went with another one in a way that differs."""
    *above, last = place
    for step in above:
        values = values[step]
    del values[last]
