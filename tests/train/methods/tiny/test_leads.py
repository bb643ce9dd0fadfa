"""Leads of parts are fitted so that both the part and the rest of its whole are found."""

import numpy as np

from lexiseg_train.methods.tiny.leads import LEADS, MIN_QUESTIONS, Cells, fit


def test_a_part_gets_the_lead_that_gives_it_its_cells_and_no_more() -> None:
    is_part = np.arange(100) < 20
    cells = Cells(np.where(is_part, -1.6, -2.4).astype(np.float32), is_part)
    rare = Cells(np.zeros(4, np.float32), np.ones(4, bool))

    leads = fit({"head": [cells] * MIN_QUESTIONS, "tail": [rare] * (MIN_QUESTIONS - 1)})

    assert leads.keys() == {"head"}
    assert 1.6 < leads["head"] < 2.4
    assert leads["head"] in LEADS
