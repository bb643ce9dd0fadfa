"""Which activation weights were trained with: GELU, or OpenAI's QuickGELU, x * sigmoid(1.702 x).

Weights do not say which, both load without an error, and the wrong one silently ruins the features. So it is decided
from what is known about the weights, every correction is logged, and a contradiction is refused.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lexiseg_model.errors import OptionError, WeightsError

logger = logging.getLogger(__name__)

SUFFIX = "-quickgelu"  # of open_clip's architecture names


@dataclass(frozen=True)
class Evidence:
    """The activation that the weights need, as far as it is known, and the source of that."""

    quick_gelu: bool
    reason: str


def split_architecture(architecture: str) -> tuple[str, bool]:
    """`ViT-B-16-quickgelu` -> (`ViT-B-16`, True); the suffix declares QuickGELU."""
    name = architecture.removesuffix(SUFFIX)
    return name, name != architecture


def decide(architecture: str, explicit: bool | None, evidence: Evidence | None, unmarked: bool) -> bool:
    """Whether to build with QuickGELU.

    Args:
        architecture: open_clip's name, with or without `-quickgelu`.
        explicit: the setting; None: not set.
        evidence: of the weights; None: they have none.
        unmarked: what to assume where nothing else decides; the assumption is logged.

    Raises:
        OptionError: the setting contradicts the name.
        WeightsError: the setting contradicts the weights.
    """
    declared = split_architecture(architecture)[1]
    if explicit is not None:
        if declared and not explicit:
            raise OptionError(f"quick_gelu=false was asked for, but {architecture} stands for QuickGELU")
        if evidence is not None and evidence.quick_gelu != explicit:
            raise WeightsError(
                f"quick_gelu={str(explicit).lower()} was asked for, but these weights were trained with "
                f"{_name(evidence.quick_gelu)} ({evidence.reason})"
            )
        return explicit
    if evidence is not None:
        # A name without the suffix is how people say the architecture; open_clip's file of that name means GELU.
        if evidence.quick_gelu != declared:
            logger.warning(
                "%s stands for %s, but these weights were trained with %s (%s): built with %s",
                architecture,
                _name(declared),
                _name(evidence.quick_gelu),
                evidence.reason,
                _name(evidence.quick_gelu),
            )
        return evidence.quick_gelu
    if declared:
        return True
    logger.warning(
        "nothing says which activation these %s weights were trained with: %s is assumed; "
        "quick_gelu (`--activation`) decides",
        architecture,
        _name(unmarked),
    )
    return unmarked


def _name(quick_gelu: bool) -> str:
    return "QuickGELU" if quick_gelu else "GELU"
