"""A run's journal as a curve, and the curve as a sentence."""

from __future__ import annotations

import json
from pathlib import Path

from lexiseg_model.training.publishing.curve import JOURNAL, Logged, in_words, read_curve


def test_entries_with_a_loss_are_the_curve(tmp_path: Path) -> None:
    entries = [{"step": 50, "loss": 2.5, "crop": 96}, {"step": 50, "miou": 3.0}, {"step": 100, "loss": 1.25}]
    lines = [json.dumps(entry) for entry in entries]
    (tmp_path / JOURNAL).write_text("\n".join([*lines, '{"step": 150, "lo']))

    assert read_curve(tmp_path) == [Logged(50, 2.5), Logged(100, 1.25)]


def test_a_run_without_a_journal_has_no_curve(tmp_path: Path) -> None:
    assert in_words(read_curve(tmp_path)) == ""


def test_a_long_curve_is_told_from_first_to_last() -> None:
    curve = [Logged(step, 1000.0 / step) for step in range(10, 1001, 10)]

    told = in_words(curve)

    assert told.startswith(" Loss: 100 at step 10, ")
    assert told.endswith(", 1 at step 1000.")
    assert told.count(" at step ") == 5


def test_a_single_point_is_told_once() -> None:
    assert in_words([Logged(50, 2.0)]) == " Loss: 2 at step 50."
