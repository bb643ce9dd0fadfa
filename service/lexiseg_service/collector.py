"""What Python's cyclic collector need not look at: whatever is there before the requests come, and stays.

A full collection looks at every object that may hold others and lets no thread run meanwhile. Of a process that has
imported torch and holds a model these are 300,000, which take 150 ms: probes and small requests wait for them. What
has been set aside is freed as ever when nobody holds it; only circles of it are not found, until `look_at_all`.
"""

from __future__ import annotations

import gc


def set_aside() -> None:
    """Full collections do not look at what is there now, rubbish aside."""
    gc.collect()
    gc.freeze()


def look_at_all() -> None:
    """One full collection of everything, also of what was set aside: a model may be gone that was there then."""
    aside = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()
    if aside:
        gc.freeze()
