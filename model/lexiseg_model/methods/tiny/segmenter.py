"""`tiny` as a Segmenter: one tile per image, one vector per text, presence of a class as a bonus on its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from lexiseg_model.device import Execution
from lexiseg_model.errors import OptionError, ShapeError, TaskError, WeightsError
from lexiseg_model.export.exportable import Exportable, ImageRunner, Part, PartRunner
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.masks.specks import SpeckRule
from lexiseg_model.methods.tiny import asking, by_example, closer_look
from lexiseg_model.methods.tiny.click_order import best_first, contrast
from lexiseg_model.methods.tiny.graphs import ImagePass, Normalised, PromptGraphs, parts
from lexiseg_model.methods.tiny.image_pass import brought_to, buckets, first, fitted, halved
from lexiseg_model.methods.tiny.mask_rules import by_own_colours, palette
from lexiseg_model.methods.tiny.network import STRIDE, TinyNetwork
from lexiseg_model.methods.tiny.pixel_scores import PixelScores, means_under
from lexiseg_model.methods.tiny.prompt_head import Answering, PromptHead, SharedMaps
from lexiseg_model.methods.tiny.proposals.proposing import propose
from lexiseg_model.methods.tiny.settings import TinySettings
from lexiseg_model.methods.tiny.weights import TEMPLATE, fused, in_type, read_networks
from lexiseg_model.methods.tiny.words.familiar import Familiar, read_familiar
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_model.methods.tiny.words.tower_files import tower_folder
from lexiseg_model.segmenter import (
    Competing,
    ExampleVectors,
    PromptMasks,
    Proposals,
    Regions,
    RowsOf,
    TextBank,
    TextRows,
    Unfamiliar,
    require_shown,
)
from lexiseg_model.types import ClassEntry, ModelCard, Prompt, Refinement, Region

WEIGHTS_FILE = "tiny.safetensors"  # the words of training lie beside it in a file of their own
IMAGE_PARTS = ("stem", "stages", "context", "lateral", "smooth", "pixel_head", "image_head", "evidence")


class TinySegmenter(Exportable):
    """The bundled model on one device."""

    any_size = True  # the network is convolutions throughout

    def __init__(
        self,
        network: TinyNetwork,
        head: PromptHead | None,
        settings: TinySettings,
        card: ModelCard,
        digest: str,
        execution: Execution,
        familiar: Familiar | None = None,
    ) -> None:
        device = execution.device
        self.card = card
        self.digest = digest
        self.tower = load_text_tower(execution.text_tower)
        self.text_digest = self.tower.digest
        self._device = device
        # On a CPU graphs are faster than any number type of torch's; without them float32 has the same answers.
        self._dtype = torch.float32 if device.type == "cpu" else execution.dtype
        self.network = fused(network).to(device)
        self._scores = PixelScores(self.network, settings, device)
        # Scalars and the text projection stay in float32; only the image pass runs in the fast type.
        for name in IMAGE_PARTS:
            getattr(self.network, name).to(self._dtype)
        self._head = None if head is None else in_type(fused(head).to(device), self._dtype)
        self._prompts: PromptGraphs | None = None
        self.settings = settings
        self.familiar = familiar
        self._known = by_example.known_words(self.network, familiar, device)
        self._normalised = Normalised().to(device)
        self.buckets = buckets(card.input)

    def image_network(self) -> ImagePass:
        return ImagePass(self.network)

    def parts(self) -> list[Part]:
        return [] if self._head is None else parts(self._head)

    def use_image_runner(self, runner: ImageRunner) -> None:
        super().use_image_runner(runner)
        for name in IMAGE_PARTS:  # one graph takes tiles of every shape
            self.network._modules.pop(name, None)

    def use_part_runners(self, runners: Mapping[str, PartRunner], threads: int) -> None:
        self._prompts = PromptGraphs(runners, threads)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        size = picture_size(rgb)
        height, width = fitted(size, self.card.input, options.max_side)
        picture = None if self._head is None else closer_look.kept_picture(rgb, (height, width))
        return Plan(size, brought_to(rgb, (height, width))[None], picture=picture)

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        done = self._encode_elsewhere(tiles)
        if done is not None:
            return tuple(part.half() for part in done)
        there = torch.from_numpy(tiles).to(self._device)
        if self._device.type != "cpu":
            return self._of_bytes(there)
        # One by one: a batched kernel may round otherwise than that of a single tile, and gains nothing on a CPU.
        passes = [self._of_bytes(tile[None]) for tile in there]
        return tuple(torch.cat(parts) for parts in zip(*passes, strict=True))

    def _of_bytes(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Of tiles that are on the device."""
        images = self._normalised(tiles).to(self._dtype, memory_format=torch.channels_last)
        features = self.network(images)
        return features.pixels.half(), features.image.half(), features.cells.half()

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        pixels, image, cells = tile_features
        parts = {"pixels": first(pixels), "image": first(image), "cells": first(cells)}
        kept = {"guide": halved(plan.tiles[0])} | ({} if plan.picture is None else {"picture": plan.picture})
        return Features(plan.size, parts | {name: torch.from_numpy(part) for name, part in kept.items()})

    def guide(self, features: Features) -> Tensor:
        normalised: Tensor = self._normalised(features.tensors["guide"].to(self._device))
        return normalised[0]

    def texts(self, classes: tuple[ClassEntry, ...]) -> list[str]:
        return [TEMPLATE.format(text) for entry in classes for text in entry.texts]

    def encode_texts(self, texts: list[str]) -> NDArray[np.float16]:
        return self.tower.encode(texts).astype(np.float16)

    def text_bank(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> TextBank:
        owner = np.repeat(np.arange(len(classes)), [len(entry.texts) for entry in classes])
        if rows.shape != (len(owner), self.tower.width):
            raise ShapeError(f"expected text rows [{len(owner)}, {self.tower.width}], got {list(rows.shape)}")
        with torch.no_grad():
            there = torch.from_numpy(rows).to(self._device)
            vectors, levels = self.network.project_texts(there), self.network.levels_of(there)
        return TextBank(vectors, owner, len(classes), levels=levels)

    def meaning(self, classes: tuple[ClassEntry, ...], rows: TextRows) -> NDArray[np.float32]:
        meant: NDArray[np.float32] = torch.from_numpy(rows).float().numpy()  # numpy takes ten times as long for halves
        return meant

    @torch.inference_mode()
    def class_scores(self, features: Features, bank: TextBank) -> Tensor:
        return self._scores.of_pixels(features.tensors["pixels"], bank, self._scores.of_texts(features, bank))

    def competing(self, features: Features, bank: TextBank, refine: Refinement) -> Competing:
        return self._scores.competing(features, bank)

    @torch.inference_mode()
    def presence(self, features: Features, bank: TextBank) -> Tensor:
        return self._scores.presence(features, bank)

    @torch.inference_mode()
    def whole_image(self, features: Features, bank: TextBank) -> Tensor:
        """[K]: the logit of each class's most present text, as the head for whole images sees it."""
        return bank.best_of_texts(self._scores.of_texts(features, bank))

    def unfamiliar(self, classes: tuple[ClassEntry, ...], rows_of: RowsOf) -> list[Unfamiliar]:
        return [] if self.familiar is None else self.familiar.strangers(classes, rows_of)

    @torch.inference_mode()
    def example_rows(self, features: Features, regions: Sequence[Region]) -> NDArray[np.float16]:
        """[R, 96]: mean pixels of what the prompt head cuts out for a box or points, of a mask as it is."""
        places = [place for place, region in enumerate(regions) if region.prompt is not None and self._head is not None]
        prompts = [replace(prompt, glance=True) for place in places if (prompt := regions[place].prompt) is not None]
        masks = dict(zip(places, self.prompt(features, prompts) if prompts else (), strict=True))
        pixels = features.tensors["pixels"].to(self._device).float()
        return by_example.region_rows(pixels, features.size, regions, masks, self.settings.examples.apart)

    @torch.inference_mode()
    def example_vectors(self, positive: TextRows, negative: TextRows) -> ExampleVectors:
        return by_example.vectors(positive, negative, self.settings.examples, self._known)

    def nobody_score(
        self, logits: Tensor, threshold: float | None, refine: Refinement, features: Features | None = None
    ) -> Tensor:
        return self._scores.must_beat(threshold)

    @property
    def specks(self) -> SpeckRule:
        return self.settings.specks

    # masks

    @torch.inference_mode()
    def propose(self, features: Features) -> Proposals:
        head, shared = self._answering(), self._shared(features)

        def make() -> Proposals:
            found = propose(head, shared, self.settings.proposals)
            return Proposals(found.masks, self.embed_masks(features, found.masks), found.quality)

        return features.derived.once("proposals", make)

    @torch.inference_mode()
    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        require_shown(prompts)
        near = self._looked_at(features, prompts)
        far = [prompt for place, prompt in enumerate(prompts) if place not in near]
        rest = iter(self._coloured(features, far) if far else ())
        answers = [near[place] if place in near else next(rest) for place in range(len(prompts))]
        rules = [self.settings.looks.boxes if place in near else self.settings.boxes for place in range(len(prompts))]
        return asking.ended(answers, prompts, self._scale_of(features), rules, self.settings.crumbs)

    def _looked_at(self, features: Features, prompts: Sequence[Prompt]) -> dict[int, PromptMasks]:
        """Answers to small boxes by place, on the cells of the whole image."""
        if "picture" not in features.tensors:
            return {}
        whole = closer_look.Whole(features.size, features.tensors["picture"], self._cells(features), features.derived)
        multiple, rule = self.card.input.multiple, self.settings.looks
        return closer_look.looked_at(prompts, whole, multiple, rule, self._part, self._coloured)

    def _part(self, tile: NDArray[np.uint8], size: tuple[int, int]) -> Features:
        return self.assemble(Plan(size, tile), self.encode_tiles(tile))

    def _coloured(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """What the head makes of prompts, and their objects' colours."""
        seen = features.derived.once("palette", lambda: palette(self.guide(features), self._cells(features)))
        colours = partial(by_own_colours, palette=seen, rule=self.settings.colours)
        return asking.coloured(self.seen(features, prompts), prompts, self._scale_of(features), colours)

    @torch.inference_mode()
    def seen(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """What the head makes of prompts, in the order of the answers: before colours and boxes have their say."""
        head, shared = self._answering(), self._shared(features)
        edges = features.derived.once("contrast", lambda: contrast(self.guide(features), self._cells(features)))
        order = partial(best_first, contrast=edges, rule=self.settings.clicks)
        return asking.ask(head, shared, prompts, self._scale_of(features), order)

    @torch.inference_mode()
    def patches(self, features: Features) -> Tensor:
        return self.places(features)

    def places(self, features: Features) -> Tensor:
        """[96, h, w] float32 at stride 8: what the classes are compared with, in less detail."""
        pixels = features.tensors["pixels"].to(self._device).float()
        return F.normalize(F.avg_pool2d(pixels[None], 2, ceil_mode=True)[0], dim=0)

    @torch.inference_mode()
    def embed_masks(self, features: Features, masks: Tensor) -> Tensor:
        """[N, 96] float32: the mean of what is under a mask, or what is at its highest cell where it is in none."""
        pixels = features.tensors["pixels"].to(self._device).float()
        if not len(masks):
            return pixels.new_zeros(0, len(pixels))
        return means_under(masks, pixels)

    @torch.inference_mode()
    def region_scores(self, features: Features, embeddings: Tensor, bank: TextBank) -> Tensor:
        """What `class_scores` says of a region's pixels on average, where a class has one text."""
        return self._scores.of_regions(features, embeddings, bank)

    @torch.inference_mode()
    def regions(self, features: Features) -> Regions:
        """The proposals: the head cuts out what it cannot name better than the pixels do."""
        if self._head is None:
            raise OptionError(f"{self.card.name} has no prompt head, and so no regions")
        found, rule = self.propose(features), self.settings.regions
        pixels = features.tensors["pixels"].to(self._device).float().flatten(1)  # [96, h*w], unit vectors
        share = found.masks.to(pixels).sigmoid()
        means = (share.flatten(1) @ pixels.T) / share.flatten(1).sum(1, keepdim=True).clamp_min(1e-6)
        return Regions(share, rule.weight * found.quality.float() * means.norm(dim=1) ** rule.alike)

    def _required_head(self) -> PromptHead:
        if self._head is None:
            raise TaskError(f"{self.card.name} has no prompt head: it takes no prompts and proposes no masks")
        return self._head

    def _answering(self) -> Answering:
        return self._prompts or self._required_head()

    def _shared(self, features: Features) -> SharedMaps:
        """What all prompts about an image share; made once."""
        head = self._required_head()

        def make() -> SharedMaps:
            if self._prompts is not None:
                return self._prompts.maps(features.tensors["pixels"], features.tensors["guide"])
            pixels = features.tensors["pixels"].to(self._device, self._dtype)[None]
            return head.maps(pixels, self.guide(features)[None].to(self._dtype))

        return features.derived.once("shared", make)

    def _cells(self, features: Features) -> tuple[int, int]:
        return features.tensors["pixels"].shape[1], features.tensors["pixels"].shape[2]

    def _scale_of(self, features: Features) -> tuple[float, float]:
        """Pixels of the network's input for one of the image, across and down."""
        (height, width), (down, across) = self._cells(features), features.size
        return width * STRIDE / across, height * STRIDE / down


def require_text_tower(named: Path | None) -> None:
    """Checks that the text tower is here, or fetches it. WeightsError: as of `tower_folder`."""
    tower_folder(named)


def load(folder: Path, card: ModelCard, execution: Execution) -> TinySegmenter:
    """Loads a model directory (`tiny.safetensors` beside its card).

    Raises:
        WeightsError: the weights are missing, damaged, or not of this network; the card's settings are not of this
            method, or it names the task prompt and the weights hold no prompt head.
    """
    if card.weights_sha256 is None:
        raise WeightsError(f"{folder}: the card names no weights (weights_sha256)")
    try:
        settings = TinySettings.model_validate(card.settings)
    except ValidationError as error:
        raise WeightsError(f"{folder}: the card's settings are not those of tiny: {error}") from None
    network, head = read_networks(folder / WEIGHTS_FILE, card, card.weights_sha256)
    familiar = read_familiar(folder, load_text_tower(execution.text_tower).digest)
    return TinySegmenter(network, head, settings, card, card.weights_sha256[:16], execution, familiar)
