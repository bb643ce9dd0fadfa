"""Strings through any text transformer: rows in any company, up to the end mark, and what names them."""

from __future__ import annotations

import numpy as np
import open_clip
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor

from lexiseg_model.clip.text import CHUNK, encode_in_chunks, end_states

CPU = torch.device("cpu")
TEXTS = ["a dog.", "a very old dog that sleeps in the sun.", "sky", *(f"number {index}" for index in range(CHUNK))]


def transformer() -> TextTransformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TextTransformer(width=32, heads=2, layers=2, proj_type="none").eval()


@torch.inference_mode()
def test_a_string_is_read_up_to_its_end_mark_and_gives_the_row_of_the_whole() -> None:
    network = transformer()
    tokens = open_clip.tokenize(TEXTS)
    lengths: set[int] = set()

    @torch.inference_mode()  # passes run on threads of their own
    def forward(chunk: Tensor) -> Tensor:
        lengths.add(chunk.shape[1])
        return end_states(network, chunk)

    rows = encode_in_chunks(tokens, forward, 32, CPU, end_marked=True)

    np.testing.assert_allclose(rows, network(tokens).numpy(), atol=1e-5, rtol=1e-4)
    assert max(lengths) < tokens.shape[1]
