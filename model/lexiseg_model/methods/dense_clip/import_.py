"""CLIP weights under an attention policy, as a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card
from lexiseg_model.catalogue.weights import naming_files
from lexiseg_model.clip.dino import dino_from_file
from lexiseg_model.clip.towers import from_files
from lexiseg_model.errors import OptionError
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import PolicyName, card_settings, known_policy, published_policy
from lexiseg_model.methods.dense_clip.stored import flat_state


def _policy(written: str) -> PolicyName:
    return known_policy(written.lower().replace("-", "_"))


class Options(ImportOptions):
    """`activation` None reads it off the files, and takes OpenAI's where they do not tell."""

    clip: tuple[Path, ...] = Field(min_length=1, description="CLIP's towers, in one file or two")
    policy: Annotated[PolicyName, BeforeValidator(_policy)] = Field(
        "naclip", description="maskclip, sclip, naclip or proxyclip; default: naclip"
    )
    architecture: str = Field("ViT-B-16", description="open_clip's name of the CLIP; default: ViT-B-16")
    activation: Literal["quickgelu", "gelu"] | None = Field(None, description="where the file does not tell")
    proxy: Path | None = Field(None, description="of policy proxyclip: weights of DINO ViT-B/8")

    @property
    def archives(self) -> tuple[Path, ...]:
        return self.clip


def read(options: Options) -> Imported:
    """Towers, and what the policy needs beside them.

    Raises:
        WeightsError: a file is missing, damaged, or not what it is taken for.
        OptionError: a file belongs to another policy, or one is missing.
    """
    policy, proxy = options.policy, options.proxy
    if (proxy is not None) != (policy == "proxyclip"):
        got = "no file" if proxy is None else str(proxy)
        raise OptionError(f"--policy proxyclip and --proxy belong together; got --policy {policy} and {got}")
    quick_gelu = None if options.activation is None else options.activation == "quickgelu"
    towers = from_files(
        options.architecture, options.clip, quick_gelu=quick_gelu, unmarked=True, allow_torchscript=True
    )
    tower = None if proxy is None else dino_from_file(published_policy(policy).settings.proxy, proxy)
    with naming_files(*options.clip):  # a tower whose last block cannot be opened, before anything is written
        DenseNetwork(towers.visual, published_policy(policy).settings, tower)
    card = own_card("dense_clip")
    changes = card_settings(card, policy, towers.architecture, towers.quick_gelu) | {
        "summary": f"Policy {policy} in the last block of {towers.architecture}; training-free.",
        "lineage": imported_from(*options.clip, proxy),
    }
    return Imported(card.model_copy(update=changes), flat_state(towers, tower))
