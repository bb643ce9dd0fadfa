from __future__ import annotations

import json

from lexiseg_model import catalogue
from tests.service.commands.command_line import CommandLine


def test_of_every_model_it_says_whether_its_weights_are_here(lexiseg: CommandLine) -> None:
    rows = [line for line in lexiseg("models", "list").out.splitlines() if "@" in line and "│" in line]

    weights = {row.split("│")[1].strip(): row.split("│")[2].strip() for row in rows}
    assert weights.pop("tiny@1") == "here"
    assert weights.pop("s-seg@1") == "unpublished"
    assert {"dense-clip@1", "tcl@1", "tipsv2-b14@1", "unpair-seg@1"} <= weights.keys()
    assert set(weights.values()) == {"to be had"}


def test_the_whole_licence_of_every_model_is_printed_and_a_word_for_commercial_use(lexiseg: CommandLine) -> None:
    out = lexiseg("models", "list").out

    cards = catalogue.cards()
    assert all(f"{card.name}@{card.version}: {card.licence}\n" in out for card in cards)
    use = {card.name: card.commercial_use for card in cards}
    assert (use["tiny"], use["dense-clip"], use["tipsv2-l14"], use["s-seg"]) == ("no", "yes", "yes", "ask")


def test_programs_get_the_cards(lexiseg: CommandLine) -> None:
    cards = json.loads(lexiseg("models", "list", "--json").out)

    tiny = next(card for card in cards if card["name"] == "tiny")
    assert (tiny["weights"], "semantic" in tiny["tasks"]) == ("here", True)
