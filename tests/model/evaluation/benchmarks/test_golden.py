"""Labels of the authors' sliding-window evaluation of TCL on random weights, through a whole benchmark run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.data.annotated import AnnotatedSet, Labels
from lexiseg_model.evaluation.benchmarks.protocol import protocol
from lexiseg_model.evaluation.benchmarks.run import benchmark_run, total_counts
from lexiseg_model.segmenter import TextBank
from tests.model.evaluation.colours import colours
from tests.model.methods.tcl import golden
from tests.model.methods.tcl.test_segmenter import segmenter

DIFFERING = 1e-4  # of all pixels, of the fixtures' README


@dataclass(frozen=True)
class Reference:
    """The fixture's picture, and the labels that the authors' code gave it."""

    name: str

    def read_image(self) -> NDArray[np.uint8]:
        return golden.image("tcl/image500x700", 500, 700)

    def read_labels(self) -> Labels:
        return golden.reference()[self.name].astype(np.uint16)


@pytest.mark.slow
def test_a_run_with_background_and_refinement_gives_the_authors_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = ["background", *golden.ABOUT["classes"]]
    data = AnnotatedSet(colours(classes).benchmark, "val", (Reference("slide_label_bg1_pamr1"),))
    rule = protocol("tcl").rule("voc21")
    model = segmenter()
    # The fixture's texts are vectors of their own.
    monkeypatch.setattr(model, "encode_texts", lambda texts: np.zeros((len(texts), 512), np.float32))
    monkeypatch.setattr(model, "text_bank", lambda *_: TextBank(golden.texts(), np.arange(5), 5))
    assert rule.applied_to(model.card).settings == model.card.settings

    counts = total_counts(benchmark_run(model, data, rule, "pamr", tmp_path).run(), len(classes))

    assert counts.truth.sum() == 500 * 700
    assert (counts.truth > 0).all()
    assert counts.hits.sum() >= (1 - DIFFERING) * 500 * 700
