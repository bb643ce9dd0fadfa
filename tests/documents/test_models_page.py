"""The table of docs/models.md is the list that the service answers with."""

from __future__ import annotations

from lexiseg_model.available import AvailableModel, available
from tests.documents.reading import ROOT

SHOWN = ("voc21", "ade20k", "sa-v test", "mose val")


def row(model: AvailableModel) -> str:
    hub = f"`{model.hub}`" if model.hub else "-"
    figures = ", ".join(f"{name} {model.figures[name]:.1f}" for name in SHOWN if name in model.figures)
    cells = (
        *(f"`{model.name}`", model.backbone, hub, f"{model.download_mb:,} MB", f"{model.memory_mb:,} MB"),
        *(f"{model.commercial_use}: {model.licence}", figures or "-"),
    )
    return f"| {' | '.join(cells)} |"


def test_the_table_of_models_is_the_list_of_available_models() -> None:
    lines = (ROOT / "docs/models.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| model | networks |")) + 2

    assert lines[first : first + len(available()) + 1] == [*map(row, available().values()), ""]
