"""Fit `panoptic.things` of a card: which regions of things are kept.

    python -m lexiseg_service.commands.evaluate.things tiny data/ voc coco street camvid fashion

segments training photographs with all classes of their set, finds which regions are things of their class, and prints
the rule, and the PQ of things without and with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lexiseg_model import catalogue
from lexiseg_model.data.read_scenes import read_panoptic_scenes
from lexiseg_model.evaluation.scenes.things_fit import fit, gather
from lexiseg_service.question.classes import is_thing

PHOTOGRAPHS = 60


def main(arguments: list[str] | None = None) -> None:
    """Fit on a split of the data sets, and print the rule and its effect."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("root", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--photographs", type=int, default=PHOTOGRAPHS)
    parser.add_argument("--split", default="train")
    asked = parser.parse_args(arguments)
    segmenter = catalogue.load(asked.model)
    sets = {}
    for name in asked.names:
        sets[name] = gather(segmenter, read_panoptic_scenes(name, asked.root, asked.split, is_thing), asked.photographs)
    rule = fit(list(sets.values()))
    print(f"things: {rule.model_dump()}")
    for name, things in sets.items():
        all_of_them = things.quality(rule.model_copy(update={"least": 0}))
        print(f"{name}: PQ of things {all_of_them:.1f} with all regions, {things.quality(rule):.1f} with those kept")


if __name__ == "__main__":
    main()
