"""The last import of those that fork servers and commands (`tests/forks.py`, `tests/documents/forking.py`): what else a
fork need not do for itself.

A server in a fork tries its model for no longer than it must; the rest of what it asks is taken to be ordinary, as on a
slow machine. Servers that are started alone try it as everywhere.
"""

from __future__ import annotations

import gc
from contextlib import suppress

from lexiseg_model import catalog
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_service.worker.costs import trial

trial.PATIENCE = 0.0
catalog.cards()  # remembered for as long as their files stay as they are
with suppress(WeightsError):  # then a server says so
    load_text_tower()
# A collection of garbage in a fork would look at all that is loaded, and copy the pages that it lies on.
gc.collect()
gc.freeze()
