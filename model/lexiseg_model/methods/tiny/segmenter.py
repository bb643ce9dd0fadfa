"""Segmenter of `tiny`: one tile an image, one vector a text, a penalty for classes that the whole image may lack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.abilities import ExampleVectors
from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import settings_of
from lexiseg_model.errors import WeightsError
from lexiseg_model.export.exportable import Exportable, Part, PartRunner
from lexiseg_model.export.runner import OnnxRunner
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, encode_each, picture_size
from lexiseg_model.methods.tiny import by_example, fine, teaching
from lexiseg_model.methods.tiny.graphs import ImagePass, NormaliseColours, PromptGraphs, prompt_parts
from lexiseg_model.methods.tiny.network import ImageFeatures, TinyNetwork
from lexiseg_model.methods.tiny.picture import buckets, halved, input_shape, kept_picture, resize_to
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.prompting import MaskSide
from lexiseg_model.methods.tiny.scores import (
    EXCLUDED,
    SUREST,
    best_per_class,
    enlarged,
    is_excluded,
    log_presence,
    mask_means,
    presence,
    reference,
    share_of,
    together,
)
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import FILE, TEMPLATE, cast_weights, fold_batch_norms, read_networks
from lexiseg_model.methods.tiny.words.familiar import Familiar, read_familiar
from lexiseg_model.methods.tiny.words.parts import asked_parts, divide_wholes, presence_of_parts
from lexiseg_model.methods.tiny.words.text_tower import check, load_text_tower, tower_folder
from lexiseg_model.resources.device import Execution
from lexiseg_model.segmenter import Competing, RowsOf, TextBank, TextRows, Unfamiliar
from lexiseg_model.types import ClassEntry, Learned, Refinement, Region, Vocabulary
from lexiseg_model.vocabulary.bank import directions
from lexiseg_model.vocabulary.glosses import with_senses
from lexiseg_model.vocabulary.heads import LabelledPicture, Lesson

MAX_EXPLAINED = 64  # words of a request that get glosses: each is up to four long texts more for the tower
WEIGHTS_FILE = FILE  # the folder also holds familiar.safetensors
IMAGE_PARTS = (
    "trunk", "lateral", "meaning", "context", "smooth", "pixel_head", "shortcut", "image_head", "evidence", "taught",
)  # fmt: skip
DECODED, MIDDLE = teaching.MAPS
KEPT_MAPS = (*ImageFeatures._fields, *teaching.MAPS)  # the outputs of the image pass with teaching, in order
ANSWERING = (*ImageFeatures._fields, MIDDLE)  # and what questions are answered by


class TinySegmenter(MaskSide, Exportable):
    """A tiny model on one device."""

    any_size = True  # the network is fully convolutional

    def __init__(
        self,
        network: TinyNetwork,
        head: PromptHead | None,
        settings: TinySettings,
        card: ModelCard,
        execution: Execution,
        familiar: Familiar | None,
    ) -> None:
        device = execution.device
        self.card = card
        self.digest = str(card.weights_sha256)[:16]
        self.tower = load_text_tower(execution.text_tower)
        self.text_digest = self.tower.digest
        self._execution, self._device = execution, device
        # On a CPU the ONNX graphs are faster than any type of torch; float32 gives the same results without them.
        self._dtype = torch.float32 if device.type == "cpu" else execution.dtype
        self.network = fold_batch_norms(network).to(device)
        self._scale = network.log_scale.exp().item()
        self.background = self._scale * network.nobody.item()  # the score that a class must exceed
        # Scalars and the text projection stay in float32; only the image pass runs in the fast type.
        for name, part in self.network.named_children():
            if name in IMAGE_PARTS:
                part.to(self._dtype)
        self._head = None if head is None else cast_weights(fold_batch_norms(head).to(device), self._dtype)
        self._graphs: PromptGraphs | None = None
        self.settings = settings
        self.familiar = familiar
        self._training_words = by_example.training_words(self.network, familiar, device)
        self._normalise_colours = NormaliseColours().to(device)
        self.buckets = buckets(card.input)
        self.own_classes: Mapping[str, Learned] = {}
        if network.taught is not None:
            directions, factors = (part.float().cpu() for part in (network.taught.directions, network.taught.text))
            own = zip(settings.taught, directions.detach(), factors.tolist(), strict=True)
            self.own_classes = {name.lower(): Learned(row.numpy().tobytes(), n, self.digest) for name, row, n in own}

    def image_network(self) -> ImagePass:
        return ImagePass(self.network)

    def parts(self) -> list[Part]:
        return [] if self._head is None else prompt_parts(self._head)

    def use_image_runner(self, runner: OnnxRunner) -> None:
        super().use_image_runner(runner)
        for name in IMAGE_PARTS:  # one graph takes tiles of every shape
            self.network._modules.pop(name, None)

    def use_part_runners(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        self._graphs = PromptGraphs(runners, threads)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        size = picture_size(rgb)
        height, width = input_shape(size, self.card.input, options.max_side)
        picture = None if self._head is None and not options.fine else kept_picture(rgb, (height, width))
        tiles = resize_to(rgb, (height, width))[None]
        if options.fine and picture is not None:
            tiles = np.concatenate([tiles, fine.quarters(picture, (height, width))])
        teaching = options.teaching or options.fine or bool(self.own_classes)
        return Plan(size, tiles, picture=picture, teaching=teaching)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        exported = None if self._runner is None else self._runner.encode(tiles, list(map(KEPT_MAPS.index, ANSWERING)))
        if exported is not None:
            return tuple(part.half() for part in exported)
        return super().encode_tiles(tiles)

    @torch.inference_mode()
    def encode_teaching(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        if self._runner is not None:
            exported = self._runner.encode(tiles)
            assert exported is not None  # a graph takes tiles of every shape
            return tuple(part.half() for part in exported)
        maps = encode_each(tiles, self._device, partial(self._image_pass, teaching=True))
        if self._translated is None:
            return maps
        answering = dict(zip(ANSWERING, self.encode_tiles(tiles), strict=True))  # a question's words keep their bits
        return tuple((dict(zip(KEPT_MAPS, maps, strict=True)) | answering).values())

    def _image_pass(self, tiles: Tensor, teaching: bool = False) -> tuple[Tensor, ...]:
        """The torch image pass of uint8 tiles [N, 3, s, t] on the device: float16."""
        images = normalised(tiles).to(self._dtype, memory_format=torch.channels_last)
        network = self.network.teaching if teaching else self.network.answering
        return tuple(part.half() for part in network(images))

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        names = KEPT_MAPS if plan.teaching else ANSWERING
        parts = dict(zip(names, tile_features, strict=True))
        tensors = {name: part[0] for name, part in parts.items()}
        if len(plan.tiles) > 1:
            tensors = {name: part.clone() for name, part in tensors.items()}  # keeps nothing of the other tiles
            tensors |= fine.maps_of(plan.tiles[0], parts[DECODED][1:], parts[MIDDLE][1:])
        tensors["guide"] = torch.from_numpy(halved(plan.tiles[0]))
        if plan.picture is not None:
            tensors["picture"] = torch.from_numpy(plan.picture)
        return Features(plan.size, tensors)

    def guide(self, features: Features) -> Tensor:
        normalised: Tensor = self._normalise_colours(features.tensors["guide"].to(self._device))
        return normalised[0]

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        return [TEMPLATE.format(text) for entry in classes for text in entry.texts]

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        return self.tower.encode(texts).astype(np.float16)

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        bank = TextBank.of_rows(classes, rows, self.tower.width, self._device)
        own = self.network.own_words
        shifts = None if own is None else own.shifts(bank.vectors)
        by_row = self.network.part_directions
        parts = None if by_row is None else asked_parts(classes, self.settings.parts, self.own_classes, by_row)
        return replace(bank, vectors=self.network.project_texts(bank.vectors), shifts=shifts, parts=parts)

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        return self._scored(features, bank, self._pixels(features))[0]

    @torch.inference_mode()
    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        scores, whole_image = self._competing(features, bank)
        return Competing(scores, whole_image=whole_image)

    def _competing(self, features: Features, bank: TextBank) -> tuple[Tensor, Tensor]:
        """As `_scored`, of classes that are asked for together."""
        pixels = self._pixels(features)
        scores, presence = self._scored(features, bank, pixels, are_together=True)
        if bank.parts is None:
            return scores, presence
        n_listed = bank.n_classes - bank.n_background
        listed = scores[:n_listed]
        share = share_of(self.settings.together, torch.tensor(n_listed))
        if share > 0 and len(bank.parts.part):
            maps = enlarged(pixels, scores.shape[1:]), features.tensors[MIDDLE].to(pixels)
            products = teaching.products_of(*maps, bank.parts.directions)
            listed.copy_(divide_wholes(listed, bank.parts, products, share.to(scores)))
        flat, exceeded = listed.flatten(1), reference(scores, n_listed, self.background).flatten()
        rows = bank.parts.is_part.nonzero()[:, 0]
        places = bank.parts.is_part.cumsum(0)[bank.parts.part] - 1  # among these rows
        presence[rows] = presence_of_parts(presence[rows], flat[rows], places, flat[bank.parts.whole], exceeded)
        return scores, presence

    def _scored(
        self, features: Features, bank: TextBank, pixels: Tensor, *, are_together: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The scores [K, h, w] of the unit embeddings [D, h, w], and the presence [K] in the whole image."""
        of_texts = self._presence_of_texts(features, bank)
        scores = self._scores_of(pixels, features.tensors[MIDDLE], bank, of_texts)
        presence = bank.best_of_texts(of_texts)
        learned = None if bank.learned is None else teaching.learned_in(bank.learned, features)
        if are_together:
            self._draw_together(scores[: bank.n_classes - bank.n_background], pixels, bank)
        if learned is not None:
            products = teaching.cell_products(features, learned.directions)
            scores = enlarged(scores, products.shape[1:])
            scores, above = teaching.with_learned(learned, scores, self.background, products)
            rows = torch.from_numpy(learned.classes).to(self._device)
            presence = presence.index_copy(0, rows, _surest(above.flatten(1)))
        return scores, presence

    def _draw_together(self, listed: Tensor, pixels: Tensor, bank: TextBank) -> None:
        """Overwrite the scores [K, h, w] of classes; those of a head are a question of their own, as in lessons."""
        of_head = torch.zeros(len(listed), dtype=torch.bool)
        of_head[[*bank.of_head]] = True
        rule, both = self.settings.together, (~of_head, of_head)
        questions = [members.to(listed.device) for members in both if share_of(rule, members.sum()) > 0]
        if questions:  # otherwise scores keep their bits
            listed.copy_(together(listed, pixels, listed.new_tensor(self._scale), rule, questions))

    def _presence_of_texts(self, features: Features, bank: TextBank) -> Tensor:
        """The presence logit [T] of each text in the whole image."""
        image, cells = (features.tensors[name].to(self._device, torch.float32) for name in ("image", "cells"))
        # Not by the network's own method: a request enters no code of the network.
        scale, bias = self.network.presence_log_scale.exp(), self.network.presence_bias
        return presence(image, cells, directions(bank), scale, bias)

    def _scores_of(self, pixels: Tensor, middle: Tensor, bank: TextBank, presence: Tensor) -> Tensor:
        """Scores [K, h, w] of embeddings [D, h, w] and the trunk's map, by the presence [T] of each text."""
        added = log_presence(presence).mul_(self.settings.presence)
        scores = best_per_class(pixels, middle.to(self._device).float(), bank, added, self._scale)
        for index, excluded in bank.excluded.items():
            scores[index].masked_fill_(is_excluded(pixels.flatten(1), excluded).view(scores.shape[1:]), EXCLUDED)
        return scores

    @torch.inference_mode()
    def presence(self, features: Features, bank: TextBank) -> Tensor:
        """Presence [K]: the logit of each class's most present text plus the log probability of its surest pixels."""
        scores, whole_image = self._competing(features, bank)
        scores = scores.flatten(1)
        scores -= torch.logaddexp(scores.logsumexp(0), scores.new_tensor(self.background))
        return whole_image + _surest(scores)

    @torch.inference_mode()
    def whole_image(self, features: Features, bank: TextBank) -> Tensor:
        """The presence logit [K] of each class's most present text; a learned class's is by its surest cells."""
        return self._competing(features, bank)[1]

    @property
    def teaching_size(self) -> int:
        return teaching.SIZE

    @property
    def fine_size(self) -> int:
        return fine.SIZE

    @torch.inference_mode()
    def lesson(self, features: Features, labelled: LabelledPicture, bank: TextBank) -> Lesson:
        scores, n_classes = self._competing(features, replace(bank, learned=None, parts=None))[0], len(labelled.classes)
        exceeded = reference(scores, n_classes, self.background)
        by_words = torch.cat([scores[:n_classes], exceeded[None]])
        return teaching.lesson_of(features, labelled, by_words, self.digest)

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        return [] if self.familiar is None else self.familiar.unfamiliar(classes, rows_of)

    def explained(self, vocabulary: Vocabulary) -> Vocabulary:
        """With the senses of words that no mask of training shows; words of training are found better without."""
        if self.familiar is None:
            return vocabulary
        masked_words = self.familiar.masked
        unknown = [
            index
            for index, entry in enumerate(vocabulary.classes)
            if entry.names and not entry.senses and masked_words.isdisjoint(name.lower() for name in entry.names)
        ]
        return with_senses(vocabulary, unknown) if 0 < len(unknown) <= MAX_EXPLAINED else vocabulary

    def training_words(self) -> Sequence[str]:
        return () if self.familiar is None else self.familiar.words

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> NDArray[np.float16]:
        """Rows [R, VECTORS * D] of regions: of the prompt head's mask for a box or points, or of the given mask."""
        prompts = {
            index: replace(region.prompt, single_pass=True)
            for index, region in enumerate(regions)
            if region.prompt is not None and self._head is not None
        }
        masks = dict(zip(prompts, self.prompt(features, [*prompts.values()]) if prompts else (), strict=True))
        pixels = self._pixels(features)
        return by_example.region_rows(pixels, features.size, regions, masks, self.settings.examples.apart)

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        return by_example.vectors(positive, negative, self.settings.examples, self._training_words)

    def background_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        """The logit [] that a class must exceed; a `threshold` of probability shifts the learned one."""
        clipped = 0.5 if threshold is None else min(max(threshold, 1e-6), 1 - 1e-6)
        return logits.new_tensor(self.background + math.log(clipped / (1 - clipped)))

    @torch.inference_mode()
    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """The mean embedding and trunk's map [N, D + 120] float32 under each mask; of its highest cell if it is empty.

        Of features for teaching, the means of the decoder's map, of 1, and of their detail follow.
        """
        maps = teaching.with_middle(self._pixels(features), features.tensors[MIDDLE].to(self._device).float())
        if (decoded := features.tensors.get(DECODED)) is None:
            return mask_means(masks, maps[:-1])
        means = mask_means(masks, torch.cat([maps[:-1], decoded.to(maps), maps[-1:]]))
        if not fine.has_detail(features):
            return means
        return torch.cat([means, mask_means(masks, fine.cells(features, maps))], 1)

    @torch.inference_mode()
    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """Class scores [K, N] of regions: the mean of `class_scores` over a region if each class has one text."""
        width, n_middle = self.network.embedding, features.tensors[MIDDLE].shape[0]
        learned = None if bank.learned is None else teaching.learned_in(bank.learned, features)
        ends = width, width + n_middle, width + teaching.SIZE
        pixels, middle, decoded, detail = (part.T[..., None] for part in embeddings.tensor_split(ends, 1))
        scores = self._scores_of(pixels, middle, bank, self._presence_of_texts(features, bank))
        if learned is not None:
            cells = torch.cat([detail, decoded[:-1], middle, decoded[-1:]])[..., 0]
            products = learned.directions @ cells[-learned.directions.shape[1] :]
            scores = teaching.with_learned(learned, scores, self.background, products[..., None])[0]
        return scores[..., 0]

    def _pixels(self, features: Features) -> Tensor:
        """The unit embeddings [D, h, w] float32."""
        return features.tensors["pixels"].to(self._device).float()


def _surest(logits: Tensor) -> Tensor:
    """The log of the mean of each row's surest cells' exponentials, of logits [K, n]: [K]."""
    n = max(1, round(SUREST * logits.shape[1]))
    return logits.topk(n, dim=1, sorted=False).values.logsumexp(1) - math.log(n)


def require_text_tower(folder: Path | None) -> None:
    """Find and check the files of the text tower. Raises WeightsError as `tower_folder` and `check`."""
    check(tower_folder(folder))


def load(folder: Path, card: ModelCard, execution: Execution) -> TinySegmenter:
    """Load a model directory (`tiny.safetensors` and a card)."""
    if card.weights_sha256 is None:
        raise WeightsError(f"{folder}: the card names no weights (weights_sha256)")
    settings = settings_of(card, TinySettings)
    network, head = read_networks(folder / WEIGHTS_FILE, card, card.weights_sha256)
    n_taught = 0 if network.taught is None else len(network.taught.text)
    if n_taught != len(settings.taught):
        named = len(settings.taught)
        raise WeightsError(f"{folder}: the card names {named} taught classes, its weights have {n_taught}")
    n_parts = 0 if network.part_directions is None else len(network.part_directions)
    if (row := max((row for kind in settings.parts for row in kind.directions.values()), default=-1)) >= n_parts:
        raise WeightsError(f"{folder}: the card names row {row} of directions of parts, its weights have {n_parts}")
    familiar = read_familiar(folder, load_text_tower(execution.text_tower).digest)
    return TinySegmenter(network, head, settings, card, execution, familiar)
