"""`tiny` with its bundled weights on small inputs and a coarse grid of proposals."""

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import Segmenter
from lexiseg_model.types import Precision

HEIGHT, WIDTH = 96, 128  # pixels of the network's input, of the maps that tests ask prompts of


def segmenter(precision: Precision = "exact") -> Segmenter:
    folder = catalogue.bundled()["tiny"]
    bundled = catalogue.read_card(folder)
    card = bundled.model_copy(
        update={
            "input": InputSize(short_side=96, long_side=160, multiple=bundled.input.multiple),
            "settings": {"proposals": {**bundled.settings["proposals"], "grid": 4}},
        }
    )
    return catalogue.load_folder(folder, "cpu", precision, card)
