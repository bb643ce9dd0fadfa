"""The released computation of Falcon Perception, transcribed: whole sequences, dense masks, no cache.

Of github.com/tiiuae/Falcon-Perception, falcon_perception/{model,attention,rope,anyup,batch_inference,data}.py. Where
that has compiled kernels (FlexAttention, Triton) these are their definitions.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_falcon.settings import ControlTokens

State = dict[str, Tensor]
Config = dict[str, Any]


class Output(NamedTuple):
    tokens: list[int]
    logits: list[Tensor]  # [V] of each step
    moved: int  # centres that were repetitions
    masks: Tensor  # [N, h, w] logits
    features: Tensor  # [D, h, w]


def positions(tokens: Tensor, ids: ControlTokens, h: int, w: int) -> tuple[Tensor, Tensor]:
    is_image = tokens == ids.image
    still = is_image | (tokens == ids.after)
    for register in ids.before[1:]:
        still |= tokens == register
    time = torch.cumsum((~still).long(), 0) - 1
    xlim, ylim = np.sqrt(w / h), np.sqrt(h / w)
    wpos, hpos = np.meshgrid(np.linspace(-xlim, xlim, w), np.linspace(-ylim, ylim, h), indexing="xy")
    space = torch.zeros(len(tokens), 2)
    space[is_image] = torch.from_numpy(np.stack([hpos.flatten(), wpos.flatten()], -1).astype(np.float32))
    return time, space


def visible(tokens: Tensor, ids: ControlTokens) -> Tensor:
    """[S, S] bool: causal, and within the image both ways."""
    n = len(tokens)
    causal = torch.arange(n)[:, None] >= torch.arange(n)[None]
    inside = (torch.cumsum(tokens == ids.before[0], 0) - torch.cumsum(tokens == ids.after, 0)) > 0
    return causal | (inside[:, None] & inside[None])


def rotate_time(x: Tensor, time: Tensor, theta: float) -> Tensor:
    dim = x.shape[-1]
    freqs = 1.0 / (theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim))
    angle = torch.outer(time, freqs).float()
    turn = torch.polar(torch.ones_like(angle), angle)[:, None]
    return torch.view_as_real(torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2)) * turn).flatten(2)


def rotate_space(x: Tensor, space: Tensor, golden: Tensor) -> Tensor:
    angle = torch.einsum("sp,hfp->shf", space, golden)
    even, odd = x[..., 0::2], x[..., 1::2]
    out = torch.empty_like(x)
    out[..., 0::2] = even * angle.cos() - odd * angle.sin()
    out[..., 1::2] = even * angle.sin() + odd * angle.cos()
    return out


def attention(state: State, c: Config, layer: int, x: Tensor, mask: Tensor, time: Tensor, space: Tensor) -> Tensor:
    name = f"layers.{layer}.attention."
    d, heads, groups = c["head_dim"], c["n_heads"], c["n_kv_heads"]
    qkv = F.rms_norm(x, (x.shape[-1],)) @ state[name + "wqkv.weight"].T
    q, k, v = (part.reshape(len(x), -1, d) for part in torch.split(qkv, [heads * d, groups * d, groups * d], -1))
    q, k = F.rms_norm(q, (d,)), F.rms_norm(k, (d,)).repeat_interleave(heads // groups, 1)
    v = v.repeat_interleave(heads // groups, 1)
    golden, half = state["freqs_cis_golden"], d // 2
    q, k = (
        torch.cat([rotate_time(y[..., :half], time, c["rope_theta"]), rotate_space(y[..., half:], space, golden)], -1)
        for y in (q, k)
    )
    scores = torch.einsum("qhd,khd->hqk", q, k) / d**0.5
    scores = scores.masked_fill(~mask, -torch.inf)
    out = torch.einsum("hqk,khd->hqd", scores.softmax(-1), v)
    gate = torch.sigmoid(scores.logsumexp(-1) - state[name + "sinks"][:, None])
    return (out * gate[..., None]).transpose(0, 1).flatten(1) @ state[name + "wo.weight"].T


def transformer(state: State, c: Config, x: Tensor, mask: Tensor, time: Tensor, space: Tensor) -> tuple[Tensor, Tensor]:
    for layer in range(c["n_layers"]):
        x = x + attention(state, c, layer, x, mask, time, space)
        name = f"layers.{layer}.feed_forward."
        packed = F.rms_norm(x, (x.shape[-1],)) @ state[name + "w13.weight"].T
        gate, up = packed[:, 0::2], packed[:, 1::2]
        x = x + (gate.clamp(min=0) ** 2 * up) @ state[name + "w2.weight"].T
    h = x / (x.pow(2).mean(-1, keepdim=True) + c["norm_eps"]).sqrt() * state["norm.weight"]
    return h @ state["output.weight"].T, h


def fourier(state: State, name: str, point: Tensor) -> Tensor:
    f = 2 * torch.pi * (point @ state[f"{name}.embed.weight"].T)
    return torch.cat([f.cos(), f.sin()], -1) @ state[f"{name}.transform.weight"].T


def bins(state: State, name: str, h: Tensor) -> Tensor:
    return ((h @ state[f"{name}.w1.weight"].T).relu() ** 2 @ state[f"{name}.w2.weight"].T).view(2, -1)


def mask_embedding(state: State, c: Config, h: Tensor) -> Tensor:
    for layer in range(c["num_segm_layers"] - 1):
        h = (h @ state[f"proj_segm.layers.{layer}.weight"].T + state[f"proj_segm.layers.{layer}.bias"]).relu() ** 2
    return h @ state["proj_segm.pixel_layer.weight"].T


def without_repetition(xy: Tensor, before: list[Tensor], logits: Tensor, threshold: float) -> Tensor:
    if not any((each - xy).abs().max() < threshold for each in before):
        return xy
    logits = logits.clone()
    for _ in range(10):
        pick = logits.argmax(-1)
        there = pick.float() / logits.shape[-1]
        if not any((each - there).abs().max() < threshold for each in before):
            return there
        logits[0, pick[0]] = logits[1, pick[1]] = -torch.inf
    return xy


def anyup(state: State, image: Tensor, features: Tensor) -> Tensor:
    """image [1, 3, H, W] and features [1, C, h, w] -> [C, H, W]."""
    p = "itok_upsampler."

    def encoder(name: str, x: Tensor) -> Tensor:
        for block in (1, 2):
            y = x
            for norm, conv in ((0, 2), (3, 5)):
                at = f"{p}{name}.{block}.block."
                y = F.group_norm(y, 8, state[f"{at}{norm}.weight"], state[f"{at}{norm}.bias"])
                y = F.conv2d(F.silu(y), state[f"{at}{conv}.weight"])
            x = x + y
        return x

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (image * 0.5 + 0.5 - mean[:, None, None]) / std[:, None, None]
    x = encoder("image_encoder", F.conv2d(x, state[p + "image_encoder.0.weight"]))
    (high, wide), (h, w) = x.shape[2:], features.shape[2:]
    rows, columns = torch.meshgrid(torch.linspace(0, 1, high), torch.linspace(0, 1, wide), indexing="ij")
    angle = torch.stack([rows, columns], -1).view(-1, 2) @ state[p + "rope.freqs"]  # [H W, 128]
    flat = x[0].flatten(1).T
    one, two = flat.chunk(2, -1)
    x = (flat * angle.cos() + torch.cat([-two, one], -1) * angle.sin()).T.view(x.shape)

    q = encoder("query_encoder", F.conv2d(x, state[p + "query_encoder.0.weight"]))
    k = encoder("key_encoder", F.conv2d(x, state[p + "key_encoder.0.weight"]))
    k = k.reshape(1, -1, h, high // h, w, wide // w).mean((3, 5))
    unit = F.normalize(features, dim=1)
    basis = state[p + "key_features_encoder.0.basis"]
    shown = [F.conv2d(F.pad(unit[:, [channel]], (2, 2, 2, 2)), basis) for channel in range(unit.shape[1])]
    counted = F.conv2d(F.pad(torch.ones(1, 1, h, w), (2, 2, 2, 2)), torch.ones(1, 1, 5, 5))
    # The filters of the first channel, then of the second, ...: split as if the channels of a filter were together.
    unified = (torch.cat(shown, 1) / counted).reshape(1, len(basis), unit.shape[1], h, w).softmax(1).mean(2)
    k = torch.cat([k, encoder("key_features_encoder", unified)], 1)
    k = F.conv2d(F.pad(k, (1, 1, 1, 1), mode="reflect"), state[p + "aggregation.0.weight"])
    k = encoder("aggregation", k)
    q = F.conv2d(q, state[p + "cross_decode.conv2d.weight"], padding=1)

    at = p + "cross_decode.cross_attn."
    weight, bias = state[at + "attention.in_proj_weight"], state[at + "attention.in_proj_bias"]
    q, k, v = (y[0].flatten(1).T for y in (q, k, features))
    q = F.rms_norm(q, (128,), state[at + "norm_q.weight"]) @ weight[:128].T + bias[:128]
    k = F.rms_norm(k, (128,), state[at + "norm_k.weight"]) @ weight[128:256].T + bias[128:256]
    sides = []
    for pixels, cells in ((high, h), (wide, w)):
        place, cell = (torch.arange(pixels, dtype=torch.float32)[:, None] + 0.5) / pixels, torch.arange(cells)
        first, last = ((place - 0.1).clamp(0, 1) * cells).floor(), ((place + 0.1).clamp(0, 1) * cells).ceil()
        sides.append((cell >= first) & (cell < last))
    mask = (sides[0][:, None, :, None] & sides[1][None, :, None]).reshape(high * wide, h * w)
    heads = []
    for head in range(4):
        a, b = slice(32 * head, 32 * head + 32), slice(v.shape[1] // 4 * head, v.shape[1] // 4 * (head + 1))
        scores = (q[:, a] @ k[:, a].T / 32**0.5).masked_fill(~mask, -torch.inf)
        heads.append(scores.softmax(-1) @ v[:, b])
    return torch.cat(heads, -1).T.reshape(-1, high, wide)


Around = tuple[list[int], list[int]]


def generate(
    state: State, c: Config, ids: ControlTokens, pixels: Tensor, around: Around, most: int, near: float
) -> Output:
    """`pixels` [3, h, w] in -1..1; `around`: text tokens before and after the image; `near`: of repeated centres."""
    before, after = around
    p = c["spatial_patch_size"]
    h, w = pixels.shape[1] // p, pixels.shape[2] // p
    block = [*ids.before, *[ids.image] * (h * w), ids.after]
    prompt = [*before, *block, *after]
    patches = pixels.permute(1, 2, 0).reshape(h, p, w, p, 3).permute(0, 2, 1, 3, 4).reshape(h * w, -1)
    embedded = state["tok_embeddings.weight"][torch.tensor(prompt)].clone()
    start = len(before) + len(ids.before)
    embedded[start : start + h * w] = patches @ state["img_projector.weight"].T
    tokens, queries, logits_of, centres = list(prompt), [], [], []  # type: ignore[var-annotated]
    features, moved = None, 0
    while len(tokens) - len(prompt) < most:
        now = torch.tensor(tokens)
        time, space = positions(now, ids, h, w)
        logits, hidden = transformer(state, c, embedded, visible(now, ids), time, space)
        if features is None:
            features = pixel_features(state, c, pixels, hidden[start : start + h * w].T.view(-1, h, w))
        token, last = int(logits[-1].argmax()), hidden[-1]
        logits_of.append(logits[-1])
        tokens.append(token)
        if token in ids.stop:
            break
        next_one = state["tok_embeddings.weight"][token]
        if token == ids.coord:
            scores = bins(state, "coord_decoder", last)
            best = scores.argmax(-1).float() / scores.shape[-1]
            xy = without_repetition(best, centres, scores, near)
            moved += int(not torch.equal(best, xy))
            centres.append(xy)
            next_one = fourier(state, "coord_encoder", xy)
        elif token == ids.size:
            scores = bins(state, "size_decoder", last)
            count = scores.shape[-1]
            least = torch.log2(torch.tensor(1 / count))
            hw = torch.pow(2.0, scores.argmax(-1).float() / (count - 1) * (0.0 - least) + least)
            next_one = fourier(state, "size_encoder", hw)
        elif token == ids.seg:
            queries.append(mask_embedding(state, c, last))
        embedded = torch.cat([embedded, next_one[None]])
    assert features is not None
    found = torch.stack(queries) if queries else torch.zeros(0, c["segm_out_dim"])
    masks = torch.einsum("dhw,kd->khw", features, found)
    return Output(tokens[len(prompt) :], logits_of, moved, masks, features)


def pixel_features(state: State, c: Config, pixels: Tensor, patches: Tensor) -> Tensor:
    """Features [D, 8 h, 8 w] of patches [dim, h, w], on a square canvas of a multiple of 256 pixels."""
    p = c["spatial_patch_size"]
    side = -(-max(pixels.shape[1:]) // 256) * 256
    canvas = torch.zeros(1, 3, side, side)
    canvas[0, :, : pixels.shape[1], : pixels.shape[2]] = pixels
    grid = torch.zeros(1, patches.shape[0], side // p, side // p)
    h, w = patches.shape[1:]
    grid[0, :, :h, :w] = patches
    low = F.conv2d(grid, state["conv_segm.weight"], state["conv_segm.bias"], padding=1)
    out = side // p * 8
    small = canvas.reshape(1, 3, out, side // out, out, side // out).mean((3, 5))
    return anyup(state, small, low)[:, : h * 8, : w * 8]
