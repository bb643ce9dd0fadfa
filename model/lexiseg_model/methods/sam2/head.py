"""A SAM of transformers on one square input: its image pass, its head for prompts and videos, the masks of a grid."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lexiseg_model.abilities import PromptMasks, Proposals
from lexiseg_model.cards import ModelCard, StrictModel
from lexiseg_model.clip.windowed import as_kept
from lexiseg_model.errors import OptionError
from lexiseg_model.export.exportable import TorchPass
from lexiseg_model.features import Features, InferenceOptions, Plan, TileFeatures, picture_size
from lexiseg_model.masks.nms import OverlapRule, suppress
from lexiseg_model.masks.rle import decode
from lexiseg_model.resources.device import Execution, held_bytes
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Sight, Start

LEVELS = ("tracked fine", "tracked middle", "tracked coarse")  # names of the feature maps
INSIDE_LOGIT, OUTSIDE_LOGIT = 10.0, -10.0  # logits of a mask's pixels, as transformers takes the mask of a first frame
OUTPUTS = ("cond_frame_outputs", "non_cond_frame_outputs")  # of a session, by frame
SAME = OverlapRule(overlap=0.7, inside=None)


class PromptHead:
    """A `Sam2VideoModel` or `Sam3TrackerVideoModel` over kept feature maps, with the neck's position encodings."""

    def __init__(self, model: Any, positions: Any, device: torch.device) -> None:
        self.model = model
        self.side: int = model.prompt_encoder.input_image_size
        self._positions = positions
        self.device = device

    def maps(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps [N, C, h, w] of the neck, finest first -> the kept ones, projected as the decoder needs them."""
        fine, middle, coarse = pyramid
        decoder = self.model.mask_decoder
        return decoder.conv_s0(fine).float(), decoder.conv_s1(middle).float(), coarse.float()

    @torch.inference_mode()
    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Masks [M, h, w]: three for a lone click, the best first, and one for any other prompt."""
        for place, prompt in enumerate(prompts):
            if not prompt.points and prompt.box is None and prompt.mask is None:
                raise OptionError(f"prompt {place} has neither points nor a box")
        embeddings, places = self.embeddings(features)
        return [self._masks(embeddings, places, prompt, features.size) for prompt in prompts]

    def embeddings(self, features: Features) -> tuple[list[Tensor], Tensor]:
        """Inputs of the mask decoder for an image without memory: maps, finest first, and positions."""
        levels = self._levels(features)
        maps = [*levels[:-1], levels[-1] + self.model.no_memory_embedding.view(1, -1, 1, 1)]
        return maps, self.model.get_image_wide_positional_embeddings()

    def decoded(
        self, embeddings: list[Tensor], places: Tensor, sparse: Tensor, dense: Tensor, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Masks [1, P, M, h, w] of P encoded prompts, logits, and their estimated IoU [1, P, M]."""
        masks, quality, _, _ = self.model.mask_decoder(
            image_embeddings=embeddings[-1],
            image_positional_embeddings=places,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=embeddings[:-1],
        )
        return masks, quality

    def grid_masks(
        self, features: Features, side: int, at_once: int, *, multimask: bool
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield masks [N, h, w], logits, and their estimated IoU [N] of `side` x `side` points, some at a time."""
        embeddings, places = self.embeddings(features)
        steps = (torch.arange(side, device=self.device) + 0.5) * self.side / side
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        for points in torch.split(torch.stack([x, y], -1).view(1, -1, 1, 2), at_once, 1):
            labels = torch.ones(points.shape[:3], dtype=torch.int32, device=self.device)
            sparse, dense = self.model.prompt_encoder(points, labels, None, None)
            masks, quality = self.decoded(embeddings, places, sparse, dense, multimask=multimask)
            yield masks.flatten(0, 2), quality.flatten()

    def _masks(self, embeddings: list[Tensor], places: Tensor, prompt: Prompt, size: tuple[int, int]) -> PromptMasks:
        points, labels = self.points(prompt, size)
        box = None if prompt.box is None else self._scaled([prompt.box[:2], prompt.box[2:]], size).view(1, 1, 4)
        if box is None and not prompt.points:  # only a mask: the decoder gets an empty point
            points, labels = points.new_zeros(1, 1, 1, 2), labels.new_full((1, 1, 1), -1)
        alone = box is not None and not prompt.points
        sparse, dense = self.model.prompt_encoder(
            None if alone else points, None if alone else labels, box, self._mask_logits(prompt)
        )
        masks, quality = self.decoded(embeddings, places, sparse, dense, multimask=prompt.is_lone_click)
        best = quality[0, 0].argsort(descending=True)
        return PromptMasks(masks[0, 0][best], quality[0, 0][best].clamp(0, 1))

    def points(self, prompt: Prompt, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Points [1, 1, P, 2] in pixels of the network's input, and labels [1, 1, P]: 1 is the object, 0 is not."""
        coordinates = self._scaled([(point.x, point.y) for point in prompt.points], size)
        labels = torch.tensor([int(point.positive) for point in prompt.points], dtype=torch.int32, device=self.device)
        return coordinates[None, None], labels[None, None]

    def video_points(self, prompt: Prompt, size: tuple[int, int]) -> dict[str, Tensor]:
        """The points of the first frame of an object; the corners of its box come first, with labels 2 and 3."""
        points, labels = self.points(prompt, size)
        if prompt.box is not None:
            corners = self._scaled([prompt.box[:2], prompt.box[2:]], size)[None, None]
            points = torch.cat([corners, points], 2)
            labels = torch.cat([labels.new_tensor([[[2, 3]]]), labels], 2)
        return {"point_coords": points, "point_labels": labels}

    def frame(self, features: Features) -> dict[str, list[Tensor]]:
        """A frame for a session's cache: maps and position encodings as [h*w, 1, C]."""
        levels = self._levels(features)
        places = [self._positions(level.shape, level.device, level.dtype) for level in levels]
        flat = [[each.flatten(2).permute(2, 0, 1) for each in maps] for maps in (levels, places)]
        return {"vision_feats": flat[0], "vision_pos_embeds": flat[1]}

    def _levels(self, features: Features) -> list[Tensor]:
        return [features.tensors[name].to(self.device).float()[None] for name in LEVELS]

    def _scaled(self, pairs: Sequence[tuple[float, float]], size: tuple[int, int]) -> Tensor:
        """Scale pairs (x, y) in pixels of the image to pixels of the network's input: [P, 2]."""
        factors = torch.tensor([self.side / size[1], self.side / size[0]], device=self.device)
        return torch.tensor(pairs, dtype=torch.float32, device=self.device).view(-1, 2) * factors

    def _mask_logits(self, prompt: Prompt) -> Tensor | None:
        """A mask prompt as logits [1, 1, h, w] at the size that the prompt encoder takes."""
        if prompt.mask is None:
            return None
        mask = torch.from_numpy(decode(prompt.mask)).to(self.device)[None, None]
        logits = torch.where(mask, INSIDE_LOGIT, OUTSIDE_LOGIT)
        side = self.model.prompt_encoder.mask_input_size
        return F.interpolate(logits, side, mode="bilinear", align_corners=False, antialias=True)


class SamMemory:
    """Objects of one stream, followed by the model's own memory. Not thread-safe."""

    def __init__(self, head: PromptHead) -> None:
        self._head = head
        self._sessions: dict[int, Any] = {}
        self._frames: dict[int, int] = {}  # of each session
        config = head.model.config
        self._memories: int = config.num_maskmem - 1  # frames with maps that are read
        self._pointers: int = max(self._memories, config.max_object_pointers_in_encoder - 1)  # and with pointers

    @property
    def numbers(self) -> set[int]:
        return set(self._sessions)

    @property
    def nbytes(self) -> int:
        """Bytes held from frame to frame."""
        return sum(held_bytes(session.output_dict_per_obj) for session in tuple(self._sessions.values()))

    @torch.inference_mode()
    def step(self, features: Features, starts: Sequence[Start], ends: Sequence[int]) -> list[Sight]:
        """Find the objects in the next frame; arguments and answers as `Follower.step`."""
        for number in (*ends, *(start.number for start in starts)):
            self._sessions.pop(number, None)
        maps = self._head.frame(features) if self._sessions or starts else {}
        masks_by_number = [(number, self._mask(number, maps)) for number in self._sessions]
        # Below a score of one half the object is hidden.
        sights = [Sight(number, mask if float(mask.quality) > 0.5 else None) for number, mask in masks_by_number]
        for place, start in enumerate(starts):
            self._begin(start, features.size)
            sights.append(Sight(start.number, self._mask(start.number, maps), place))
        return sights

    def _begin(self, start: Start, size: tuple[int, int]) -> None:
        from transformers import Sam2VideoInferenceSession  # optional, and slow to import

        device = self._head.device
        session = Sam2VideoInferenceSession(inference_device=device, inference_state_device=device, dtype=torch.float32)
        session.add_point_inputs(session.obj_id_to_idx(start.number), 0, self._head.video_points(start.prompt, size))
        session.obj_with_new_inputs = [start.number]
        self._sessions[start.number] = session
        self._frames[start.number] = 0

    def _mask(self, number: int, maps: dict[str, list[Tensor]]) -> PromptMasks:
        """The mask of one object in a frame; its quality is the probability that the object is visible."""
        session, frame = self._sessions[number], self._frames[number]
        session.cache.cache_vision_features(frame, maps)
        # The frame's pixels are not read, as its maps are in the cache; transformers needs a tensor all the same.
        output = self._head.model(session, frame=maps["vision_feats"][0].new_zeros(0), frame_idx=frame)
        self._forget_old(session, frame)
        self._frames[number] = frame + 1
        visibility = output.object_score_logits.view(1).float().sigmoid()
        return PromptMasks(output.pred_masks[0].float(), visibility)

    def _forget_old(self, session: Any, frame: int) -> None:
        """Drop old state: keep maps of the last few frames, pointers of some more, and both of the first frame."""
        session.processed_frames.clear()
        session.cache.clear_all()
        session.frames_tracked_per_obj[0].clear()
        conditioned, others = (session.output_dict_per_obj[0][kind] for kind in OUTPUTS)
        for index, output in [*conditioned.items(), *others.items()]:
            output.pop("high_res_masks", None)
            output.pop("pred_masks", None)
            if index in others and index <= frame - self._memories:
                output.pop("maskmem_features", None)
                output.pop("maskmem_pos_enc", None)
            if index in others and index <= frame - self._pointers:
                del others[index]


class Grid(NamedTuple):
    """A grid of `side` x `side` point prompts, and thresholds for their masks; defaults of SAM 2's generator."""

    side: int = 32
    quality: float = 0.8  # minimum of the estimated IoU
    stability: float = 0.95  # minimum of the area with logits above 1 over the area above -1
    at_once: int = 64  # points in one pass


@torch.inference_mode()
def everything(head: PromptHead, features: Features, grid: Grid) -> Proposals:
    """Class-agnostic masks for a grid of points, the best first, without embeddings ([N, 0])."""
    all_masks, qualities = [], []
    for masks, quality in head.grid_masks(features, grid.side, grid.at_once, multimask=True):
        area = (masks > -1).flatten(1).sum(1)
        stable = (masks > 1).flatten(1).sum(1) >= grid.stability * area
        good = (quality > grid.quality) & stable & (area > 0)
        all_masks.append(masks[good].half())
        qualities.append(quality[good])
    masks, quality = torch.cat(all_masks), torch.cat(qualities).clamp(0, 1)
    best = suppress(masks > 0, quality, SAME)
    return Proposals(masks[best], masks.new_zeros(len(best), 0), quality[best])


class SquareSettings(StrictModel):
    """Size and normalisation of the network's input."""

    side: int = Field(gt=0, description="side of the network's square input, in pixels")
    mean: tuple[float, float, float] = Field(description="mean of each colour, in 0..1")
    std: tuple[float, float, float] = Field(description="standard deviation of each colour, in 0..1")


class SquareSegmenter(TorchPass):
    """A model on one device with a square input; float32 except in the image pass."""

    kept_maps: tuple[str, ...] = LEVELS  # names of the outputs of the image pass

    def __init__(self, settings: SquareSettings, card: ModelCard, digest: str, execution: Execution) -> None:
        self.card = card
        self.digest = digest
        self._side = settings.side
        self._execution = execution
        colours = torch.tensor([settings.mean, settings.std]).view(2, 1, 3, 1, 1)
        self._mean, self._std = colours.to(execution.device)
        self.buckets = ((settings.side, settings.side),)

    def plan(self, rgb: NDArray[np.uint8], options: InferenceOptions = InferenceOptions()) -> Plan:
        """Resize the image to the square as SAM's image processors do; `max_side` has no effect."""
        size = picture_size(rgb)
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
        square = F.interpolate(pixels, (self._side, self._side), mode="bilinear", antialias=True)
        return Plan(size, square.numpy())

    def _image_pass(self, tiles: Tensor) -> TileFeatures:
        dtype = self._execution.dtype
        pixels = (tiles.float() / 255 - self._mean) / self._std
        with torch.autocast(self._execution.device.type, dtype, enabled=dtype != torch.float32):
            maps = self.image_maps(pixels)
        return as_kept(maps, self._execution.precision)

    @abstractmethod
    def image_maps(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """The maps of `kept_maps` [N, C, h, w], of normalised colours [N, 3, side, side]."""

    def assemble(self, plan: Plan, tile_features: TileFeatures) -> Features:
        return Features(plan.size, {name: part[0] for name, part in zip(self.kept_maps, tile_features, strict=True)})


class PromptedSegmenter(SquareSegmenter):
    """A model with a SAM's head: masks for clicks, boxes and masks, and objects followed through a video."""

    @property
    @abstractmethod
    def sam_head(self) -> PromptHead:
        """The head for prompts and for the frames of a video."""

    def prompt(self, features: Features, prompts: Sequence[Prompt]) -> list[PromptMasks]:
        """Three masks for a single click, one for any other prompt."""
        return self.sam_head.prompt(features, prompts)

    prompt_with_negatives = correct = prompt  # a SAM's head was trained with negative points and masks

    def object_memory(self) -> SamMemory:
        """An empty memory for the objects of one video stream."""
        return SamMemory(self.sam_head)
