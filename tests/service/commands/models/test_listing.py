import json

import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from tests.service.commands.command_line import CommandLine


def test_of_every_model_it_says_whether_its_weights_are_here(lexiseg: CommandLine) -> None:
    rows = [line for line in lexiseg("models", "list").out.splitlines() if "@" in line and "│" in line]

    weights = {row.split("│")[1].strip(): row.split("│")[2].strip() for row in rows}
    assert weights.pop("tiny@1") == "here"
    assert weights.pop("s-seg@1") == "unpublished"
    assert {"dense-clip@1", "tcl@1", "tipsv2-b14@1", "unpair-seg@1"} <= weights.keys()
    assert set(weights.values()) == {"published"}


def test_the_whole_licence_of_every_model_is_printed_and_a_word_for_commercial_use(lexiseg: CommandLine) -> None:
    out = lexiseg("models", "list").out

    cards = catalogue.cards()
    assert all(f"{card.name}@{card.version}: {card.licence}\n" in out for card in cards)
    use = {card.name: card.commercial_use for card in cards}
    assert (use["tiny"], use["dense-clip"], use["tipsv2-l14"], use["s-seg"]) == ("no", "yes", "yes", "ask")


def test_in_80_columns_no_word_of_the_list_is_cut(lexiseg: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    out = lexiseg("models", "list").out

    assert "…" not in out
    assert max(map(len, out.split("Licences:")[0].splitlines())) <= 80


def test_programs_get_the_cards(lexiseg: CommandLine) -> None:
    cards = json.loads(lexiseg("models", "list", "--json").out)

    tiny = next(card for card in cards if card["name"] == "tiny")
    assert (tiny["weights"], "semantic" in tiny["tasks"]) == ("here", True)


def test_every_model_is_listed_with_sizes_licence_figures_and_command(lexiseg: CommandLine) -> None:
    outcome = lexiseg("models", "available")

    assert outcome.status == 0
    for model in available().values():
        assert f"{model.name}: {model.backbone}" in outcome.out
        assert model.command in outcome.out
        assert model.licence in outcome.out


def test_a_method_whose_weights_nobody_published_is_not_available() -> None:
    assert not methods()["s_seg"].weights_published
    assert "s_seg" not in {model.method for model in available().values()}


def test_programs_get_the_list(lexiseg: CommandLine) -> None:
    models = json.loads(lexiseg("models", "available", "--json").out)["models"]

    assert [model["name"] for model in models] == list(available())
    assert {model["commercial_use"] for model in models} <= {"yes", "no", "terms"}


def test_the_list_and_the_cards_name_the_same_models_and_terms() -> None:
    cards = {card.name: card for card in catalogue.cards() if methods()[card.method].weights_published}

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


def test_a_model_whose_published_figures_need_more_says_what_and_how(lexiseg: CommandLine) -> None:
    model, out = available()["unpair-seg"], lexiseg("models", "available").out

    assert model.figures == {"context59": 39.7}
    assert "nobody released" in model.further
    assert model.further in out
    assert "lexiseg train unpair-seg-align stage_one=stage1.pth" in out
