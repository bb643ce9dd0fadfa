"""Small TIPS archives as google-deepmind/tips lays them out, and that repository's forward passes as formulas.

Images: DINOv2 with one register, by the notebook of zero-shot segmentation; positions by its JAX code, bilinear.
Texts: text_encoder.py.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tests.model.methods.tipsv2 import small

WIDTH, HEADS, HIDDEN, LAYERS, WORDS = 384, 6, 96, 2, 320  # the width of S, nothing else of its size
CELLS = small.SIDE // 14
State = dict[str, Tensor]


def save(folder: Path, seed: int = 0) -> tuple[State, State]:
    """Both archives, random, and a tokenizer; returns the arrays of images and of texts."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 0.1 * torch.randn(shape, generator=generator)

    def dense(name: str, inputs: int, outputs: int) -> State:
        return {f"{name}.weight": drawn(outputs, inputs), f"{name}.bias": drawn(outputs)}

    def norm(name: str) -> State:
        return {f"{name}.weight": 1 + drawn(WIDTH), f"{name}.bias": drawn(WIDTH)}

    images = {"cls_token": drawn(1, 1, WIDTH), "register_tokens": drawn(1, 1, WIDTH), "mask_token": drawn(1, WIDTH)}
    images |= {"pos_embed": drawn(1, 1 + CELLS**2, WIDTH), **norm("norm")}
    images |= {"patch_embed.proj.weight": drawn(WIDTH, 3, 14, 14), "patch_embed.proj.bias": drawn(WIDTH)}
    texts = {"token_embedding.weight": drawn(WORDS, WIDTH), "temperature": torch.tensor(0.005), **norm("ln_final")}
    for layer in range(LAYERS):
        place = f"blocks.{layer}"
        images |= norm(f"{place}.norm1") | norm(f"{place}.norm2")
        images |= dense(f"{place}.attn.qkv", WIDTH, 3 * WIDTH) | dense(f"{place}.attn.proj", WIDTH, WIDTH)
        images |= dense(f"{place}.mlp.fc1", WIDTH, HIDDEN) | dense(f"{place}.mlp.fc2", HIDDEN, WIDTH)
        images |= {f"{place}.ls{number}.gamma": 1 + drawn(WIDTH) for number in (1, 2)}
        place = f"transformer.resblocks.{layer}"
        texts |= norm(f"{place}.ln_1") | norm(f"{place}.ln_2") | dense(f"{place}.attn.out_proj", WIDTH, WIDTH)
        texts |= {f"{place}.attn.in_proj_weight": drawn(3 * WIDTH, WIDTH)}
        texts |= {f"{place}.attn.in_proj_bias": drawn(3 * WIDTH)}
        texts |= dense(f"{place}.mlp.c_fc", WIDTH, HIDDEN) | dense(f"{place}.mlp.c_proj", HIDDEN, WIDTH)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, state in (("vision", images), ("text", texts)):
        arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
        np.savez(folder / f"tips_oss_s14_highres_distilled_{kind}.npz", **arrays)
    small.tokenizer().save_pretrained(folder)
    return images, texts


def linear(state: State, name: str, tokens: Tensor) -> Tensor:
    return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def normed(state: State, name: str, tokens: Tensor, epsilon: float) -> Tensor:
    centred = tokens - tokens.mean(-1, keepdim=True)
    units = centred / (centred.square().mean(-1, keepdim=True) + epsilon).sqrt()
    return units * state[f"{name}.weight"] + state[f"{name}.bias"]


def attended(qkv: Tensor) -> Tensor:
    """[L, 3 C] -> [L, C], a head at a time."""
    query, key, value = (part.chunk(HEADS, 1) for part in qkv.chunk(3, 1))
    scale = math.sqrt(WIDTH // HEADS)
    heads = [(q @ k.T / scale).softmax(1) @ v for q, k, v in zip(query, key, value, strict=True)]
    return torch.cat(heads, 1)


def patches(state: State, rgb: NDArray[np.uint8]) -> Tensor:
    """[C, h, w] of an image, the last block with the values of its attention alone."""
    side = len(rgb) // 14
    pixels = torch.from_numpy(rgb).double() / 255
    cells = pixels.reshape(side, 14, side, 14, 3).permute(0, 2, 4, 1, 3).reshape(side * side, -1)
    tokens = cells @ state["patch_embed.proj.weight"].reshape(WIDTH, -1).T + state["patch_embed.proj.bias"]
    square = state["pos_embed"][0, 1:].T.reshape(1, WIDTH, CELLS, CELLS)
    square = F.interpolate(square, (side, side), mode="bilinear", antialias=True)
    positions = torch.cat([state["pos_embed"][0, :1], square[0].flatten(1).T])
    tokens = torch.cat([state["cls_token"][0], tokens]) + positions
    tokens = torch.cat([tokens[:1], state["register_tokens"][0], tokens[1:]])
    for layer in range(LAYERS):
        place = f"blocks.{layer}"
        qkv = linear(state, f"{place}.attn.qkv", normed(state, f"{place}.norm1", tokens, 1e-6))
        mixed = qkv[:, 2 * WIDTH :] if layer == LAYERS - 1 else attended(qkv)
        tokens = tokens + state[f"{place}.ls1.gamma"] * linear(state, f"{place}.attn.proj", mixed)
        hidden = F.gelu(linear(state, f"{place}.mlp.fc1", normed(state, f"{place}.norm2", tokens, 1e-6)))
        tokens = tokens + state[f"{place}.ls2.gamma"] * linear(state, f"{place}.mlp.fc2", hidden)
    return F.normalize(normed(state, "norm", tokens, 1e-6)[2:], dim=1).T.reshape(WIDTH, side, side)


def row(state: State, ids: list[int]) -> Tensor:
    """[C] of a text without padding, which has no influence."""
    half = WIDTH // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10_000) / (half - 1))).double()
    angles = torch.arange(len(ids))[:, None] * rates
    tokens = state["token_embedding.weight"][ids] * WIDTH**0.5 + torch.cat([angles.sin(), angles.cos()], 1)
    for layer in range(LAYERS):
        place = f"transformer.resblocks.{layer}"
        entering = normed(state, f"{place}.ln_1", tokens, 1e-5)
        qkv = entering @ state[f"{place}.attn.in_proj_weight"].T + state[f"{place}.attn.in_proj_bias"]
        tokens = tokens + linear(state, f"{place}.attn.out_proj", attended(qkv))
        hidden = linear(state, f"{place}.mlp.c_fc", normed(state, f"{place}.ln_2", tokens, 1e-5)).relu()
        tokens = tokens + linear(state, f"{place}.mlp.c_proj", hidden)
    return normed(state, "ln_final", tokens, 1e-5).mean(0)
