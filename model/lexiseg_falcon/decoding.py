"""Decode one phrase in one image: tokens until the answer ends, and what its objects are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lexiseg_falcon.network import FalconNetwork, FalconSettings, KeyValues

ATTEMPTS = 10  # at another place for a centre that was there before


class Objects(NamedTuple):
    """Objects: `queries` [N, C]: their products with pixel features are logits of masks; `scores` [N] in 0..1."""

    queries: Tensor
    scores: Tensor


def image_prefix(
    network: FalconNetwork, settings: FalconSettings, pixels: Tensor, dtype: torch.dtype
) -> tuple[Tensor, KeyValues]:
    """Outputs [B, dim, h / p, w / p] of patches of colours [B, 3, h, w] in -1..1, and the cache after the last one."""
    tokens, device = settings.tokens, pixels.device
    side = settings.network.spatial_patch_size
    cells = pixels.shape[2] // side, pixels.shape[3] // side
    patches = network.patches(pixels)
    cache = KeyValues(settings.network, len(pixels), 1 + len(tokens.before) + patches.shape[1], device, dtype)
    if tokens.bos is not None:
        begin = network.tok_embeddings(torch.tensor([[tokens.bos]], device=device)).expand(len(pixels), -1, -1)
        network(begin, cache, torch.zeros(1, dtype=torch.long, device=device))
    before = network.tok_embeddings(torch.tensor(tokens.before, device=device)).expand(len(pixels), -1, -1)
    place = torch.cat([torch.zeros(len(tokens.before), 2), _places(cells)]).to(device)
    position = torch.full((len(place),), tokens.bos is not None, dtype=torch.long, device=device)
    out = network(torch.cat([before, patches], 1), cache, position, place, causal=False)
    return torch.unflatten(out[:, len(tokens.before) :].transpose(1, 2), 2, cells), cache


def _places(cells: tuple[int, int]) -> Tensor:
    """Height and width [h w, 2] of patches in the image, each within the root of its ratio to the other side."""
    height, width = cells
    rows, columns = ((first / second) ** 0.5 for first, second in ((height, width), (width, height)))
    at = (
        torch.linspace(-rows, rows, height, dtype=torch.float64),
        torch.linspace(-columns, columns, width, dtype=torch.float64),
    )
    return torch.stack(torch.meshgrid(*at, indexing="ij"), -1).flatten(0, 1).float()


@torch.inference_mode()
def find(
    network: FalconNetwork,
    settings: FalconSettings,
    image: tuple[Tensor, Tensor],
    prompt: Tensor,
    check: Callable[[], None],
    dtype: torch.dtype,
) -> Objects:
    """Decode a phrase greedily, token ids `prompt` [S] behind the `image`'s keys [L, H, N, d] and values [L, G, N, d].

    `check` is called before every token; it may raise to end the work. The cache has number type `dtype`.
    """
    tokens, device = settings.tokens, prompt.device
    cache = KeyValues(settings.network, 1, image[0].shape[2] + 1 + len(prompt) + settings.max_tokens, device, dtype)
    cache.fill(*image)
    text = torch.cat([prompt.new_tensor([tokens.after]), prompt])
    # The token that ends the image is at the place of its patches, as all of the image are at one.
    first = int(tokens.bos is not None)
    position = torch.arange(first, first + len(text), device=device)
    out = network(network.tok_embeddings(text)[None], cache, position)[0, -1]
    answer = _Answer(settings)
    for place in range(int(position[-1]) + 1, int(position[-1]) + 1 + settings.max_tokens):
        check()
        chances = network.output(out).float().softmax(-1)
        token = int(chances.argmax())
        if token in tokens.stop:
            break
        embedding = answer.add(network, token, float(chances[token]), out)
        out = network(embedding[None, None], cache, torch.tensor([place], device=device))[0, -1]
    queries = torch.stack(answer.queries) if answer.queries else out.new_zeros(0, settings.network.segm_out_dim).float()
    return Objects(queries, torch.tensor(answer.scores, device=device))


class _Answer:
    """The objects of an answer's tokens: centre, size and mask of each. A score is the probability of these tokens."""

    def __init__(self, settings: FalconSettings) -> None:
        self._tokens = settings.tokens
        self._distance = settings.repeat_distance
        self._chance = 1.0  # of the tokens since the last mask
        self._presence: float | None = None  # before the first centre
        self._centres: list[Tensor] = []
        self.queries: list[Tensor] = []
        self.scores: list[float] = []

    def add(self, network: FalconNetwork, token: int, chance: float, out: Tensor) -> Tensor:
        """Read a token, which the output [dim] before it chose, and return its embedding [dim]."""
        if token in (self._tokens.coord, self._tokens.seg) and self._presence is None:
            self._presence, self._chance = self._chance, 1.0
        self._chance *= chance
        embedding: Tensor = network.tok_embeddings(torch.tensor(token, device=out.device))
        if token == self._tokens.coord:
            self._centres.append(self._new_centre(network.coord_decoder(out[None])[0].float()))
            embedding = network.coord_encoder(self._centres[-1][None])[0]
        elif token == self._tokens.size:
            embedding = network.size_encoder(_size_of(network.size_decoder(out[None])[0])[None])[0]
        elif token == self._tokens.seg:
            self.queries.append(network.proj_segm(out[None])[0].float())
            self.scores.append((self._presence or 1.0) * self._chance)
            self._chance = 1.0
        return embedding

    def _new_centre(self, logits: Tensor) -> Tensor:
        """The best centre [2] in 0..1 of logits [2, bins] that repeats none before; the best one if ten repeat."""
        bins = logits.shape[1]
        best = logits.argmax(1)
        if not self._centres or self._distance == 0:
            return best / bins
        before = torch.stack(self._centres)
        attempt, logits = best, logits.clone()
        for _ in range(ATTEMPTS):
            if not ((before - attempt / bins).abs().amax(1) < self._distance).any():
                return attempt / bins
            logits[torch.arange(2), attempt] = -torch.inf
            attempt = logits.argmax(1)
        return best / bins


def _size_of(logits: Tensor) -> Tensor:
    """Height and width [2] in 0..1 of logits [2, bins]: bins are even steps of the logarithm."""
    bins = logits.shape[1]
    share = logits.argmax(1).float() / (bins - 1)
    least = torch.log2(torch.tensor(1 / bins))
    return 2 ** (share * (0.0 - least) + least)
