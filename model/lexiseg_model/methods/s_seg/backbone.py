"""Features at strides 4, 8, 16 and 32 from any timm network that has them."""

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


class PaddedBlock(SwinTransformerBlock):
    """A block of Swin."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C], after the first norm: what is padded stays zero
        attended: Tensor = super()._attn(_padded(maps, self.window_size))  # type: ignore[no-untyped-call]
        return attended[:, : maps.shape[1], : maps.shape[2]]


class PaddedBlockV2(SwinTransformerV2Block):
    """A block of Swin v2, whose norms come after attention."""

    def _attn(self, maps: Tensor) -> Tensor:  # [B, h, w, C]
        attended: Tensor = super()._attn(_padded(maps, self.window_size))
        return attended[:, : maps.shape[1], : maps.shape[2]]


PADDED: dict[type[nn.Module], type[nn.Module]] = {
    SwinTransformerBlock: PaddedBlock,
    SwinTransformerV2Block: PaddedBlockV2,
}


def pad_before_shifts(network: nn.Module) -> None:
    """Makes every block of a Swin do so; weights and their names stay, and other networks stay as they are."""
    for block in network.modules():
        # timm builds its blocks itself and takes no class for them.
        block.__class__ = PADDED.get(type(block), type(block))


def _padded(maps: Tensor, window: tuple[int, int]) -> Tensor:
    """[B, h, w, C] -> zeros right and below up to whole windows."""
    height, width = maps.shape[1:3]
    return F.pad(maps, (0, 0, 0, -width % window[1], 0, -height % window[0]))


STRIDES = (4, 8, 16, 32)  # of res2..res5
# Networks that are built for one size of image, and how they are told to take any. Their last stage has a single window
# at that size, which timm then never shifts; on larger images MaskFormer's shifts there too.
_SWIN = {"strict_img_size": False, "always_partition": True}
ANY_SIZE: dict[str, dict[str, Any]] = {
    "timm.models.swin_transformer": _SWIN,
    "timm.models.swin_transformer_v2": _SWIN,
}


class Pyramid(nn.Module):
    """res2..res5 of a backbone; where it is a transformer over cells, each through a norm of its own.

    Input: [B, 3, H, W] by the backbone's statistics, ImageNet's unless its card says else. Output: [B, C_i, h_i, w_i],
    finest first; `channels` are the C_i.
    """

    def __init__(self, name: str, drop_path: float | None = None, weights: Path | None = None) -> None:
        """Builds it.

        Args:
            name: timm's.
            drop_path: share of residual branches that training leaves out; None for networks that know none.
            weights: a file in timm's format to start from, None for fresh weights.

        Raises:
            OptionError: timm has no such network, or it has no features at those strides.
            WeightsError: no such file, or it lacks weights of that network.
        """
        super().__init__()
        self.body = _body(name, drop_path, weights)
        pad_before_shifts(self.body)
        info = self.body.feature_info
        if tuple(info.reduction()[-len(STRIDES) :]) != STRIDES:
            raise OptionError(f"expected features at strides {STRIDES} from backbone {name}, got {info.reduction()}")
        self.channels: tuple[int, ...] = tuple(info.channels()[-len(STRIDES) :])
        # Swin's kind: maps come with channels last, and its last norm stands after the part that gives features.
        self._channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        self.norms = nn.ModuleList(
            nn.LayerNorm(count) if self._channels_last else nn.Identity() for count in self.channels
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] -> [B, C_i, h_i, w_i], finest first, h_i = H/4, H/8, H/16, H/32.

        Raises:
            ShapeError: a side is no multiple of 32.
        """
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
    """Tensors of the file, once none is missing: timm itself would leave fresh weights where a file has none."""
    state = read_tensors(weights)
    whole = timm.create_model(name, num_classes=0)
    converted = getattr(sys.modules[_family(name)], "checkpoint_filter_fn", None)
    named = converted(dict(state), whole) if converted else state
    missing = [key for key in whole.state_dict() if key not in named and not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"{weights} does not fit backbone {name}: no {missing[0]} and {len(missing) - 1} more")
    return state


def _family(name: str) -> str:
    """The module of timm that builds it.

    Raises:
        OptionError: timm has no such network.
    """
    architecture = name.partition(".")[0]  # what follows says which weights
    if not is_model(architecture):
        raise OptionError(f"timm has no backbone {name!r}")
    return model_entrypoint(architecture).__module__
