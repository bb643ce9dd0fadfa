"""Segmenter of `falcon_perception`: one image pass for all phrases, then an answer of tokens for each phrase.

Only the image decides the keys and values of its tokens and the pixel features, so these are the image pass. A phrase
continues from them: it is decoded greedily, once for an image. Each object that an answer names has a query, whose
product with the pixel features is its mask; the contour is at the released probability. An object's score is the
probability of the tokens that make it. Phrases compete for pixels as words of other methods do.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_falcon.decoding import Objects, find, image_prefix
from lexiseg_falcon.import_ import CARD, FILES, NAME, TOKENIZER, Options, read
from lexiseg_falcon.network import SINK, ControlTokens, FalconNetwork, FalconSettings
from lexiseg_model import (
    ClassEntry,
    Execution,
    Features,
    FieldError,
    InferenceOptions,
    ModelCard,
    NamedMasks,
    Plan,
    Refinement,
    TextBank,
    TextRows,
    TextSide,
    TileFeatures,
    TorchPass,
    WeightsError,
    WithTexts,
    available,
    check_work,
    fetch_folder,
    open_weights,
    picture_size,
    require_tensors,
    settings_of,
)

TEMPLATE = "Segment these expressions in the image:<|start_of_query|>{}<|REF_SEG|>"
MAX_TOKENS = 160  # of a phrase with its prompt
BYTE = 256  # a token is two numbers below it: rows are kept in half precision
MAX_CHARACTERS_SHOWN = 40  # characters of a phrase in a message
CELLS = 8  # pixel features of a patch's side
EPSILON = 1e-6  # probabilities are clamped to EPSILON..1 - EPSILON


def input_size(size: tuple[int, int], least: int, most: int, multiple: int, max_pixels: int) -> list[tuple[int, int]]:
    """The sizes (height, width) to which an image is resized, one after another.

    The shorter side is enlarged to `least` unless the longer exceeds `most`; the last sides are multiples.
    """
    fitted = _fitted(size, min(least, most), most)
    height, width = (round(side / multiple) * multiple for side in fitted)
    if height * width > max_pixels:
        factor = math.sqrt(fitted[0] * fitted[1] / max_pixels)
        height, width = (math.floor(side / factor / multiple) * multiple for side in fitted)
    last = max(height, multiple), max(width, multiple)
    return [fitted, last] if fitted != size else [last]


def resized(rgb: NDArray[np.uint8], sizes: list[tuple[int, int]]) -> NDArray[np.uint8]:
    """The image [H, W, 3] after resizing it to each of the sizes: [3, h, w]."""
    image = Image.fromarray(rgb)
    for height, width in sizes:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _fitted(size: tuple[int, int], least: int, most: int) -> tuple[int, int]:
    """Sides within `least` and `most` where the ratio allows it; `most` wins."""
    if least <= min(size) and max(size) <= most:
        return size
    height, width = size
    ratio = width / height
    bound = least if min(size) < least else most
    # Of an image that is too large the shorter side becomes `most` first, and then the longer one.
    width, height = (bound, int(bound / ratio)) if height > width else (int(bound * ratio), bound)
    if width > most:
        width, height = most, int(most / ratio)
    if height > most:
        width, height = int(most * ratio), most
    return max(height, 1), max(width, 1)


class Prompts:
    """Texts as rows [2 * MAX_TOKENS + 1]: the high and low bytes of each token, then the number of tokens.

    Half precision holds them exactly.
    """

    width = 2 * MAX_TOKENS + 1

    def __init__(self, tokenizer: bytes, tokens: ControlTokens) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._bos = tokens.bos
        self._control = set(self._tokenizer.get_added_tokens_decoder())
        self._lead = len(self._ids("")) - 1  # tokens before the phrase; one is behind it
        self.digest = hashlib.sha256(b"falcon_perception" + tokenizer).hexdigest()[:16]

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [S, width]. Raises FieldError: a text has control tokens, or more tokens than a row holds."""
        rows = np.zeros((len(texts), self.width), np.float32)
        plain = self._controls(self._ids(""))
        for row, text in zip(rows, texts, strict=True):
            ids = self._ids(text)
            phrase = text if len(text) <= MAX_CHARACTERS_SHOWN else f"{text[:MAX_CHARACTERS_SHOWN]}..."
            if self._controls(ids) != plain:
                raise FieldError("classes", phrase, "plain words, without control tokens of Falcon Perception")
            if len(ids) > MAX_TOKENS:
                raise FieldError("classes", phrase, f"at most {MAX_TOKENS} tokens with its prompt, not {len(ids)}")
            row[: 2 * len(ids) : 2], row[1 : 2 * len(ids) : 2] = np.divmod(ids, BYTE)
            row[-1] = len(ids)
        return rows

    def phrase(self, ids: Tensor) -> Tensor:
        """The tokens of the phrase, without its prompt's."""
        return ids[self._lead : -1]

    def _ids(self, text: str) -> list[int]:
        """Tokens of the prompt of a text, behind the image: a token that begins texts is before it."""
        ids: list[int] = self._tokenizer.encode(TEMPLATE.format(text)).ids
        return ids[1:] if self._bos is not None and ids[:1] == [self._bos] else ids

    def _controls(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token in self._control]


def tokens_of(row: Tensor) -> Tensor:
    """Token ids [S] int64 of a row [width]."""
    pairs = row[:-1].round().long().view(-1, 2)[: int(row[-1])]
    return pairs @ torch.tensor([BYTE, 1], device=row.device)


class FalconSegmenter(WithTexts, TorchPass):
    """A Falcon Perception on one device."""

    def __init__(
        self,
        network: FalconNetwork,
        prompts: Prompts,
        settings: FalconSettings,
        card: ModelCard,
        digest: str,
        execution: Execution,
    ) -> None:
        self.card, self.digest, self.settings = card, digest, settings
        self.text_digest = prompts.digest
        least = min(settings.min_side, card.input.long_side)
        self.buckets = ((least, least),)
        self.network = network
        self._prompts = prompts
        self._text = TextSide(prompts, ["{}"], "rows", execution.device, execution.precision)
        self._execution = execution
        self._contour = math.log(settings.mask_threshold / (1 - settings.mask_threshold))

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """One tile: the image within the released limits, its sides multiples of a patch's."""
        size = picture_size(rgb)
        side = self.settings.network.spatial_patch_size
        most = max(min(options.max_side or self.card.input.long_side, self.card.input.long_side), side)
        sizes = input_size(size, self.settings.min_side, most // side * side, side, self.settings.max_pixels)
        return Plan(size, resized(rgb, sizes)[None])

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        """Keys [N, L, H, n, d], values [N, L, G, n, d] and pixel features [N, C, h, w] of tiles [N, 3, s, t]."""
        network, side = self.network, self.settings.network.spatial_patch_size
        pixels = tiles.float() / 127.5 - 1
        patches, cache = image_prefix(network, self.settings, pixels, self._execution.dtype)
        # The square of the largest input for every image: windows, places and group norms depend on it.
        cells = -(-self.card.input.long_side // side)
        coarse = network.conv_segm(_padded(patches, cells))
        fine = network.itok_upsampler(_padded(pixels, cells * side), coarse, cells * CELLS)
        fine = fine[..., : patches.shape[2] * CELLS, : patches.shape[3] * CELLS]
        keys, values = (part[..., SINK : cache.length, :].transpose(0, 1) for part in (cache.keys, cache.values))
        dtype = torch.float32 if self._execution.precision == "exact" else torch.float16
        return tuple(part.to(dtype, copy=True) for part in (keys, values, fine))

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        keys, values, pixels = (part[0] for part in tile_features)
        return Features(plan.size, {"keys": keys, "values": values, "pixels": pixels})

    @torch.inference_mode()
    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        """The normalised mean [T, dim] of the embeddings of each phrase's tokens."""
        ids = [self._prompts.phrase(tokens_of(row)) for row in torch.from_numpy(rows.astype(np.float32))]
        means = [self.network.tok_embeddings(each.to(self._execution.device)).float().mean(0) for each in ids]
        normalised: NDArray[np.float32] = F.normalize(torch.stack(means), dim=1).cpu().numpy()
        return normalised

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        """Logits [K, h, w] of the best mask of each class; half at the released contour."""
        most = math.log((1 - EPSILON) / EPSILON)
        maps = [
            masks.amax(0) if len(masks) else masks.new_full(masks.shape[1:], -most)
            for masks, _ in self._masks(features, bank)
        ]
        return bank.best_of_texts(torch.stack(maps).clamp(-most, most))

    @torch.inference_mode()
    def named_masks(self, features: Features, bank: TextBank) -> NamedMasks:
        """Objects of every class. Synonyms may find one twice; the competition for pixels leaves one."""
        parts = list(self._masks(features, bank))
        masks, scores = (torch.cat(part) for part in zip(*parts, strict=True))
        counts = torch.tensor([len(each) for _, each in parts])
        owner = torch.from_numpy(bank.owner).repeat_interleave(counts)
        return NamedMasks(masks, scores, owner.to(scores.device))

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        probability = 0.5 if threshold is None else threshold  # one half is at the released contour
        return torch.logit(torch.tensor(probability, dtype=torch.float64), EPSILON).to(logits)

    def _masks(self, features: Features, bank: TextBank) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each vector of the bank, logits [N, h, w] of its objects' masks, and their scores [N]."""
        pixels = features.tensors["pixels"].to(self._execution.device).float()
        for row in bank.vectors:
            objects = self.objects_of(features, tokens_of(row))
            yield torch.einsum("dhw,nd->nhw", pixels, objects.queries) - self._contour, objects.scores

    def objects_of(self, features: Features, prompt: Tensor) -> Objects:
        """The objects of a phrase, given by the token ids [S] of its prompt; decoded once for an image."""
        device, dtype = self._execution.device, self._execution.dtype

        def decode() -> Objects:
            image = (features.tensors["keys"].to(device), features.tensors["values"].to(device))
            return find(self.network, self.settings, image, prompt.to(device), check_work, dtype)

        return features.derived.once(f"{CARD} {prompt.tolist()}", decode)


def _padded(maps: Tensor, side: int) -> Tensor:
    """Maps [N, C, h, w] in the upper left corner of zeros [N, C, side, side]."""
    return F.pad(maps, (0, side - maps.shape[3], 0, side - maps.shape[2]))


def load(folder: Path, card: ModelCard, execution: Execution) -> FalconSegmenter:
    """Load a model directory, or the hub's repository if the card names no weights."""
    card, state, digest = open_weights(folder, card, lambda: read(require_weights(card)))
    settings = settings_of(card, FalconSettings)
    if TOKENIZER not in state:
        raise WeightsError(f"{NAME}: no {TOKENIZER} in the weights; import them with `lexiseg models import`")
    prompts = Prompts(bytes(state[TOKENIZER].to(torch.uint8).tolist()), settings.tokens)
    with torch.device("meta"):
        network = FalconNetwork(settings.network)
    tensors = {name: value for name, value in state.items() if name != TOKENIZER}
    require_tensors(NAME, tensors, network.state_dict())
    network.load_state_dict(tensors, assign=True)
    network.eval().requires_grad_(False)
    turns = network.freqs_cis_golden.to(execution.device, torch.float32)  # stays float32
    network.to(execution.device, execution.dtype).freqs_cis_golden = turns
    return FalconSegmenter(network, prompts, settings, card, digest, execution)


def require_weights(card: ModelCard) -> Options:
    """Fetch the weights for a card that names none."""
    return Options(checkpoint=fetch_folder(available()[card.name], FILES))
