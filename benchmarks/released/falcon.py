"""Falcon Perception: TII's package `falcon-perception`, uncompiled on a CPU.

As in its server, a picture is padded to the square of the largest one, and a patch has 8 x 8 pixel features.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.released.differences import difference, picture
from lexiseg_falcon.decoding import find
from lexiseg_falcon.segmenter import FalconSegmenter, tokens_of
from tests.falcon import small

ARRAYS = Path(__file__).parents[2] / "tests/golden/falcon.npz"
SIZES = ((40, 100), (96, 64))
FEATURES_OF_PATCH = 8
LEAST, LARGEST = 64, 128  # pixels of a side
MIN_TOKENS, BLOCK = 24, 128  # the engine fills its last block of tokens
NEAR = 0.2  # so that centres are often repetitions
PHRASE = "red car left of the bus"
N_STORED, STRIDE = 4, 4  # objects, and places and channels of features, that are stored


class Output(NamedTuple):
    """Of a picture and a phrase."""

    tokens: Tensor  # [n]
    chances: Tensor  # [n], probabilities of the tokens
    queries: Tensor  # [N, D]
    masks: Tensor  # [N, h, w], logits
    features: Tensor  # [D, h, w]


def released(seed: int, size: tuple[int, int]) -> Output:
    """The package's answer over the small weights of a seed."""
    top, engine_of, network = _package()
    tokenizer = top.get_tokenizer(str(small.imported(seed).parent / "hub"))
    tokenizer.start_of_image_token_id = tokenizer.image_row_sep_token_id = None  # of other models
    fields = top.ModelArgs.__dataclass_fields__
    sizes = top.ModelArgs(**{name: value for name, value in small.CONFIG.items() if name in fields})
    sizes.update(tokenizer)
    model = network.FalconPerception(sizes).eval()
    model.load_state_dict(small.drawn(seed))
    prompt = top.build_prompt_for_task(PHRASE, "segmentation")
    inputs = engine_of.process_batch_and_generate(
        tokenizer, [(Image.fromarray(picture(seed, size)), prompt)], sizes.max_seq_len, LEAST, LARGEST
    )
    side = LARGEST // sizes.spatial_patch_size * FEATURES_OF_PATCH
    upsample, maps, logits, queries = model.upsample_img_features, [], [], []

    def eight_a_patch(*arguments: Any) -> Tensor:
        maps.append(upsample(*arguments, output_size=(side, side)))
        last: Tensor = maps[-1]
        return last

    model.output.register_forward_hook(lambda _, __, out: logits.append(out[0, -1]))
    stop = [tokenizer.eos_token_id, tokenizer.end_of_query_token_id]
    with (
        mock.patch.object(model, "upsample_img_features", eight_a_patch),
        mock.patch.object(engine_of.AuxOutput, "finalize", lambda answer, **_: queries.extend(answer.segm_embeds)),
    ):
        tokens, _ = engine_of.BatchInferenceEngine(model, tokenizer).generate(
            **inputs, max_new_tokens=MIN_TOKENS, stop_token_ids=stop, coord_dedup_threshold=NEAR
        )
    answer = tokens[0, inputs["tokens"].shape[1] :]
    chances = torch.stack(logits[: len(answer)]).softmax(1).gather(1, answer[: len(logits), None])[:, 0]
    is_filled = inputs["pixel_mask"][0, 0]
    high, wide = (int(is_filled.any(axis).sum()) // sizes.spatial_patch_size * FEATURES_OF_PATCH for axis in (1, 0))
    features, queries_of_objects = maps[0][0, :, :high, :wide], torch.stack(queries)
    masks = torch.einsum("dhw,nd->nhw", features, queries_of_objects)
    return Output(answer[: len(chances)], chances, queries_of_objects, masks, features)


def segmenter(seed: int, n_tokens: int) -> FalconSegmenter:
    """This project's model over the same weights, with at most as many tokens in an answer."""
    model = small.segmenter(seed=seed)
    changes = {"max_tokens": n_tokens, "repeat_distance": NEAR, "min_side": LEAST}
    model.settings = model.settings.model_copy(update=changes)
    return model


@torch.inference_mode()
def compare(seed: int, size: tuple[int, int]) -> float:
    """The largest relative difference of queries, masks and pixel features."""
    theirs = released(seed, size)
    model = segmenter(seed, len(theirs.tokens))
    tensors = model.encode(picture(seed, size)).tensors
    prompt = tokens_of(torch.from_numpy(model.encode_texts([PHRASE])[0]))
    image = tensors["keys"], tensors["values"]
    queries = find(model.network, model.settings, image, prompt, lambda: None, torch.float32).queries
    masks = torch.einsum("dhw,nd->nhw", tensors["pixels"], queries)
    return difference([(queries, theirs.queries), (masks, theirs.masks), (tensors["pixels"], theirs.features)])


def store(seeds: tuple[int, ...]) -> None:
    """Write what the package answers, for a test that runs without it."""
    arrays: dict[str, Any] = {}
    for seed in seeds:
        answer = released(seed, SIZES[seed % 2])
        parts = answer._replace(masks=answer.masks[:N_STORED], features=answer.features[::STRIDE, ::STRIDE, ::STRIDE])
        arrays |= {f"{name}_{seed}": part.numpy() for name, part in parts._asdict().items()}
    np.savez_compressed(ARRAYS, **arrays)


def _package() -> tuple[Any, Any, Any]:
    """The package, its engine and its network, which expect a GPU's Triton when they are imported."""
    triton: Any = ModuleType("triton")
    triton.language = ModuleType("triton.language")
    triton.language.constexpr, triton.jit = int, lambda function: function
    stand_ins = {"triton": triton, "triton.language": triton.language}
    with mock.patch.dict(sys.modules, stand_ins), mock.patch.object(torch, "compile", lambda function, **_: function):
        import falcon_perception  # type: ignore[import-not-found]
        from falcon_perception import batch_inference, model

    # The definition of the compiled kernel; gates and values alternate.
    model.squared_relu_gate = lambda packed, _: packed[..., 0::2].relu().square() * packed[..., 1::2]
    return falcon_perception, batch_inference, model
