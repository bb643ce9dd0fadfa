from __future__ import annotations

from torch import nn

from lexiseg_model import catalogue
from lexiseg_model.memory import held_bytes
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower

LINEAR = 4 * (8 * 16 + 16)  # bytes: float32, weight and bias


def test_a_tensor_that_is_shared_is_counted_once() -> None:
    linear = nn.Linear(8, 16)

    assert held_bytes([linear, {"again": linear}, (linear.weight, linear.weight[:4])]) == LINEAR


def test_a_model_counts_its_network_and_its_text_tower() -> None:
    tower = held_bytes(load_text_tower())

    assert tower > 80e6
    assert tower < catalogue.load("tiny", precision="exact").nbytes < tower + 60e6
