"""Which pictures are kept apart to measure on, where the user did not say."""

from __future__ import annotations

import numpy as np

from lexiseg_model.data.own.check import Checked, Looked
from lexiseg_model.errors import DatasetError

LEAST = 2  # photographs of each part


def split(checked: Checked, share: float, seed: int) -> Checked:
    """Keeps the user's own parts; without them about `share` of the photographs are held out.

    Of every class that two photographs show, one is held out and one is learned from.

    Raises:
        DatasetError: there are too few photographs for two parts.
    """
    if checked.held_out:
        return checked
    entries = checked.train
    if len(entries) < 2 * LEAST:
        raise DatasetError(f"{len(entries)} photographs cannot be split; expected at least {2 * LEAST}")
    wanted = max(LEAST, round(share * len(entries)))
    order = np.random.default_rng(seed).permutation(len(entries)).tolist()
    shown = {value: [place for place in order if value in entries[place].values] for value in _values(entries)}
    apart: set[int] = set()
    for _, places in sorted(shown.items(), key=lambda entry: (len(entry[1]), entry[0])):
        if len(places) >= 2 and not apart & set(places) and len(apart) < wanted:
            apart.add(places[0])
    apart |= set([place for place in order if place not in apart][: wanted - len(apart)])
    return Checked(
        tuple(entry for place, entry in enumerate(entries) if place not in apart),
        tuple(entry for place, entry in enumerate(entries) if place in apart),
        checked.warnings,
    )


def _values(entries: tuple[Looked, ...]) -> frozenset[int]:
    return frozenset().union(*(entry.values for entry in entries))
