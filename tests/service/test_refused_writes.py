from __future__ import annotations

from lexiseg_service.refused_writes import TRIAL_SECONDS, RefusedWrites


def test_a_write_is_tried_now_and_then_until_one_is_taken() -> None:
    now = [0.0]
    writes = RefusedWrites(lambda: now[0])
    before = bool(writes), writes.trial_is_due()

    writes.refused()
    meanwhile = bool(writes), writes.trial_is_due()
    now[0] = TRIAL_SECONDS
    due = writes.trial_is_due(), writes.trial_is_due()
    writes.taken()
    now[0] = 2 * TRIAL_SECONDS

    assert (before, meanwhile, due) == ((False, False), (True, False), (True, False))
    assert (bool(writes), writes.trial_is_due()) == (False, False)
