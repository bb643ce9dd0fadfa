"""The last import of who forks servers and commands (`tests/forks.py`): what else a fork need not do for itself.

Rows of texts that every server begins with are there. Servers that are started alone encode them as everywhere.
"""

from __future__ import annotations

import gc
from contextlib import suppress

from PIL import Image

from lexiseg_model import catalogue
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.weights import TEMPLATE
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from tests.remembered import RememberedRows


def remember_rows() -> None:
    """Of the words of nobody, which a server encodes before it is ready; what else is asked for is kept, too."""
    tower = load_text_tower()
    rows = RememberedRows(tower)
    rows.encode([TEMPLATE.format(word) for word in catalogue.find("tiny").card.background.words])
    vars(tower)["encode"] = rows.encode


Image.init()  # its plugins
catalogue.cards()  # remembered for as long as their files stay as they are
with suppress(WeightsError):  # then a server says so
    remember_rows()
# A collection of garbage in a fork would look at all that is loaded, and copy the pages that it lies on.
gc.collect()
gc.freeze()
