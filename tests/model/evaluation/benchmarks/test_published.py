from __future__ import annotations

from lexiseg_model.data.benchmark import benchmark
from lexiseg_model.evaluation.benchmarks.protocol import protocol
from lexiseg_model.evaluation.benchmarks.published import published


def test_every_figure_is_of_a_benchmark_and_has_a_source() -> None:
    for row in published():
        assert row.source, row.label
        assert row.miou, row.label
        for name, figure in row.miou.items():
            benchmark(name)
            assert 0 < figure < 100


def test_a_protocol_that_a_row_names_covers_its_data_sets() -> None:
    for row in published():
        if row.protocol is not None:
            assert set(row.miou) <= set(protocol(row.protocol).datasets), row.label


def test_every_method_is_in_the_table() -> None:
    assert {row.method for row in published()} == {
        "MaskCLIP", "SCLIP", "ClearCLIP", "NACLIP", "ProxyCLIP", "CLIP-DINOiser", "TCL", "Unpair-Seg", "S-Seg",
        "S-Seg+",
    }  # fmt: skip


def test_labels_tell_rows_apart() -> None:
    labels = [row.label for row in published()]

    assert len(labels) == len(set(labels))
