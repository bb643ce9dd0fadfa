"""CLIP weights under an attention policy, as a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card
from lexiseg_model.catalogue.weights import naming_files
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.dino import dino_from_file
from lexiseg_model.clip.towers import from_files
from lexiseg_model.errors import OptionError
from lexiseg_model.methods.dense_clip.dinoiser import DinoiserHeads, heads_from_state
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import PolicyName, card_settings, known_policy, published_policy
from lexiseg_model.methods.dense_clip.stored import flat_state


def _policy(written: str) -> PolicyName:
    return known_policy(written.lower().replace("-", "_"))


class Options(ImportOptions):
    """`activation` None reads it off the files, and takes OpenAI's where they do not tell."""

    clip: tuple[Path, ...] = Field(min_length=1, description="CLIP's towers, in one file or two")
    policy: Annotated[PolicyName, BeforeValidator(_policy)] = Field(
        "naclip", description="maskclip, sclip, clearclip, naclip, proxyclip or clip-dinoiser; default: naclip"
    )
    architecture: str = Field("ViT-B-16", description="open_clip's name of the CLIP; default: ViT-B-16")
    activation: Literal["quickgelu", "gelu"] | None = Field(None, description="where the file does not tell")
    proxy: Path | None = Field(None, description="of policy proxyclip: weights of DINO ViT-B/8")
    heads: Path | None = Field(None, description="of policy clip-dinoiser: its trained heads")

    @property
    def archives(self) -> tuple[Path, ...]:
        return self.clip


def read(options: Options) -> Imported:
    """Towers, and what the policy needs beside them.

    Raises:
        WeightsError: a file is missing, damaged, or not what it is taken for.
        OptionError: a file belongs to another policy, or one is missing.
    """
    policy, proxy, heads = options.policy, options.proxy, options.heads
    for file, wants, option in ((proxy, "proxyclip", "--proxy"), (heads, "clip_dinoiser", "--heads")):
        if (file is not None) != (policy == wants):
            got = "no file" if file is None else str(file)
            raise OptionError(f"--policy {wants} and {option} belong together; got --policy {policy} and {got}")
    quick_gelu = None if options.activation is None else options.activation == "quickgelu"
    towers = from_files(
        options.architecture, options.clip, quick_gelu=quick_gelu, unmarked=True, allow_torchscript=True
    )
    tower = None if proxy is None else dino_from_file(published_policy(policy).settings.proxy, proxy)
    convolutions = None if heads is None else _heads(heads)
    with naming_files(*options.clip):  # a tower whose last block cannot be opened, before anything is written
        DenseNetwork(towers.visual, published_policy(policy).settings, tower, convolutions)
    card = own_card("dense_clip")
    changes = card_settings(card, policy, towers.architecture, towers.quick_gelu) | {
        "summary": f"Policy {policy} in the last block of {towers.architecture}; training-free.",
        "lineage": imported_from(*options.clip, proxy, heads),
    }
    return Imported(card.model_copy(update=changes), flat_state(towers, tower, convolutions))


def _heads(path: Path) -> DinoiserHeads:
    tensors = read_tensors(path)
    with naming_files(path):
        return heads_from_state(tensors)
