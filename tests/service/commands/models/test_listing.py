import json

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from tests.service.commands.command_line import CommandLine


def test_every_model_says_where_its_weights_are_and_its_terms_in_80_columns(
    lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    out = lexiseg("models", "list").out

    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines() if "@" in line and "│" in line]
    weights = {row[1]: row[2] for row in rows}
    assert (weights.pop("tiny@1"), weights.pop("s-seg@1")) == ("here", "unpublished")
    assert {"dense-clip@1", "tcl@1", "tipsv2-b14@1", "unpair-seg@1"} <= weights.keys()
    assert set(weights.values()) == {"published"}
    cards = catalogue.cards()
    assert all(f"{card.name}@{card.version}: {card.licence}\n" in out for card in cards)
    use = {card.name: card.commercial_use for card in cards}
    assert (use["tiny"], use["dense-clip"], use["tipsv2-l14"], use["s-seg"]) == ("no", "yes", "yes", "ask")
    assert "…" not in out
    assert max(map(len, out.split("Licences:")[0].splitlines())) <= 80


def test_programs_get_the_cards_and_the_list(lexiseg: CommandLine) -> None:
    cards = json.loads(lexiseg("models", "list", "--json").out)
    models = json.loads(lexiseg("models", "available", "--json").out)["models"]

    tiny = next(card for card in cards if card["name"] == "tiny")
    assert (tiny["weights"], "semantic" in tiny["tasks"]) == ("here", True)
    assert [model["name"] for model in models] == list(available())
    assert {model["commercial_use"] for model in models} <= {"yes", "no", "terms"}


def test_every_model_is_listed_with_sizes_licence_figures_and_command(lexiseg: CommandLine) -> None:
    outcome = lexiseg("models", "available")

    assert outcome.status == 0
    for model in available().values():
        for said in (f"{model.name}: {model.backbone}", model.command, model.licence, model.further):
            assert said in outcome.out
    model = available()["unpair-seg"]  # its published figures need more, and it says what and how
    assert (model.figures, "nobody released" in model.further) == ({"context59": 39.7}, True)
    assert "lexiseg train unpair-seg-align stage_one=stage1.pth" in outcome.out


def test_the_list_and_the_cards_name_the_same_models_and_terms() -> None:
    cards = {card.name: card for card in catalogue.cards() if methods()[card.method].weights_published}

    assert "s_seg" not in {model.method for model in available().values()}
    assert set(cards) <= set(available())
    for name, card in cards.items():
        assert available()[name].commercial_use.replace("terms", "ask") == card.commercial_use


def test_the_bundled_model_loads_and_answers_as_known(lexiseg: CommandLine) -> None:
    outcome = lexiseg("models", "check", "tiny")

    assert outcome.status == 0, outcome.out
    assert "pictures per second" in outcome.out
    assert "DIFFERS" not in outcome.out


def test_an_answer_that_differs_is_told(lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = catalogue.find("tiny").card.weights_sha256
    other = available()["tiny"].model_copy(update={"check": {"sky": 0.0}, "check_of": sha256})
    monkeypatch.setitem(available(), "tiny", other)

    outcome = lexiseg("models", "check", "tiny")

    assert outcome.status == 1
    assert "(expected 0.000: DIFFERS)" in outcome.out
