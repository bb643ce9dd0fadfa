"""Backbones: features at strides 4, 8, 16 and 32 of timm's networks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timm
import torch.nn.functional as F
from timm.models import is_model, model_entrypoint
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import Tensor, nn

from lexiseg_model.clip.checkpoint import State, read_tensors
from lexiseg_model.errors import OptionError, ShapeError, WeightsError

STRIDES = (4, 8, 16, 32)  # of res2..res5
# Arguments for any image size of networks that are built for one. At that size their last stage has a single window,
# which timm then never shifts; on larger images MaskFormer shifts there, too.
_SWIN = {"strict_img_size": False, "always_partition": True}
ANY_SIZE: dict[str, dict[str, Any]] = {"timm.models.swin_transformer": _SWIN, "timm.models.swin_transformer_v2": _SWIN}


class PaddedBlock(SwinTransformerBlock):
    """Swin block that pads its input to whole windows before the shift, as MaskFormer does."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C], after the first norm: padding stays zero
        attended: Tensor = super()._attn(_padded(maps, self.window_size))  # type: ignore[no-untyped-call]
        return attended[:, : maps.shape[1], : maps.shape[2]]


class PaddedBlockV2(SwinTransformerV2Block):
    """Swin v2 block with such padding; its norms follow the attention."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C]
        return super()._attn(_padded(maps, self.window_size))[:, : maps.shape[1], : maps.shape[2]]


PADDED: dict[type[nn.Module], type[nn.Module]] = {
    SwinTransformerBlock: PaddedBlock,
    SwinTransformerV2Block: PaddedBlockV2,
}


def _padded(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """Pad maps [B, h, w, C] with zeros right and below to whole windows."""
    height, width = maps.shape[1:3]
    return F.pad(maps, (0, 0, 0, -width % window[1], 0, -height % window[0]))


class Pyramid(nn.Module):
    """Maps res2 to res5 [B, C_i, h_i, w_i] of a backbone, finest first, of images [B, 3, H, W] by its statistics."""

    def __init__(self, name: str, drop_path: float | None = None, weights: Path | None = None) -> None:
        """Build timm's network of a name, with weights of a file in timm's format or random ones."""
        super().__init__()
        self.body = _body(name, drop_path, weights)
        for block in self.body.modules():
            # timm offers no argument for the class of its blocks.
            block.__class__ = PADDED.get(type(block), type(block))
        info = self.body.feature_info
        if tuple(info.reduction()[-len(STRIDES) :]) != STRIDES:
            raise OptionError(f"expected features at strides {STRIDES} from backbone {name}, got {info.reduction()}")
        self.channels: tuple[int, ...] = tuple(info.channels()[-len(STRIDES) :])
        # Swin's maps have channels last, and its final norm is not among the layers that give features.
        self._channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        self.norms = nn.ModuleList(
            nn.LayerNorm(count) if self._channels_last else nn.Identity() for count in self.channels
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps [B, C_i, H/s, W/s] at strides s = 4, 8, 16, 32 of images [B, 3, H, W], sides multiples of 32."""
        if any(side % STRIDES[-1] for side in images.shape[2:]):
            raise ShapeError(f"expected sides divisible by {STRIDES[-1]}, got {' x '.join(map(str, images.shape[2:]))}")
        maps = self.body(images)[-len(STRIDES) :]
        normed = [norm(one) for norm, one in zip(self.norms, maps, strict=True)]
        return [one.permute(0, 3, 1, 2).contiguous() for one in normed] if self._channels_last else normed


def _body(name: str, drop_path: float | None, weights: Path | None) -> Any:
    options = dict(ANY_SIZE.get(_family(name), {}))
    if drop_path is not None:
        options["drop_path_rate"] = drop_path
    try:
        if weights is None:
            return timm.create_model(name, features_only=True, **options)
        overlay = {"state_dict": _checked(name, weights)}
        return timm.create_model(name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except TypeError as error:
        raise OptionError(f"backbone {name} cannot be built with {options}: {error}") from None
    except RuntimeError as error:
        if weights is None:
            raise OptionError(f"backbone {name} gives no features of several strides: {error}") from None
        raise WeightsError(f"{weights} does not fit backbone {name}: {error}") from None


def _checked(name: str, weights: Path) -> State:
    """Read the weights of a backbone and require all of them: timm would keep random weights for missing ones."""
    state = read_tensors(weights)
    whole = timm.create_model(name, num_classes=0)
    converted = getattr(sys.modules[_family(name)], "checkpoint_filter_fn", None)
    named = converted(dict(state), whole) if converted else state
    missing = [key for key in whole.state_dict() if key not in named and not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"{weights} does not fit backbone {name}: no {missing[0]} and {len(missing) - 1} more")
    return state


def _family(name: str) -> str:
    architecture = name.partition(".")[0]  # the rest names pretrained weights
    if not is_model(architecture):
        raise OptionError(f"timm has no backbone {name!r}")
    return model_entrypoint(architecture).__module__
