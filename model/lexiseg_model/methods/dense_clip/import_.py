"""Import of CLIP weights under an attention policy as a model directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from, own_card, terms_of_files
from lexiseg_model.catalogue.weights import file_digest, naming_files
from lexiseg_model.clip.checkpoint import openai_digests
from lexiseg_model.clip.dino import dino_from_file
from lexiseg_model.clip.text_side import background_words
from lexiseg_model.clip.towers import ClipTowers, clip_from_files, configuration
from lexiseg_model.errors import OptionError
from lexiseg_model.methods.dense_clip.segmenter import Parts, flat_state, image_tower
from lexiseg_model.methods.dense_clip.settings import PolicyName, published, published_policy
from lexiseg_model.methods.dense_clip.trident import Sam, sam_from_folder

LONG_SIDE = 2048  # pixels, where the authors state none


def _policy(text: str) -> str:
    name = text.lower().replace("-", "_")
    if name not in get_args(PolicyName):
        raise OptionError(f"no policy {name!r}; there are {', '.join(get_args(PolicyName))}")
    return name


class Options(ImportOptions):
    """Files to import and the policy; `activation` None takes that of the files, or else OpenAI's."""

    clip: tuple[Path, ...] = Field(min_length=1, description="CLIP's towers, in one file or two")
    policy: Annotated[PolicyName, BeforeValidator(_policy)] = Field(
        "naclip", description="maskclip, sclip, naclip, proxyclip, corrclip or trident; default: naclip"
    )
    architecture: str = Field("ViT-B-16", description="open_clip's name of the CLIP; default: ViT-B-16")
    activation: Literal["quickgelu", "gelu"] | None = Field(
        None, description="activation of the towers, if the file does not tell"
    )
    proxy: Path | None = Field(None, description="weights of a second tower: DINO ViT-B/8; for trident B/16")
    sam: Path | None = Field(None, description="folder of facebook/sam-vit-base, for policy trident")
    proposals: str | None = Field(
        None, description="model whose masks policy corrclip takes; default: sam2.1-hiera-large"
    )

    @property
    def archives(self) -> tuple[Path, ...]:
        return self.clip


def read(options: Options) -> Imported:
    """Read CLIP's towers and the policy's further weights."""
    policy, proxy = options.policy, options.proxy
    published = published_policy(policy).model_copy(update={"architecture": options.architecture})
    if published.has_proxy and proxy is None:
        raise OptionError(f"--policy {policy} needs --proxy, weights of {published.proxy}; got none")
    if proxy is not None and not published.has_proxy:
        raise OptionError(f"--proxy belongs to proxyclip, corrclip and trident; got --policy {policy}")
    if options.proposals is not None and not published.takes_masks:
        raise OptionError(f"--proposals belongs to --policy corrclip; got --policy {policy}")
    if (options.sam is not None) != (policy == "trident"):
        raise OptionError(f"--sam and --policy trident belong together; got --policy {policy}")
    quick_gelu = None if options.activation is None else options.activation == "quickgelu"
    towers = clip_from_files(
        options.architecture, options.clip, quick_gelu=quick_gelu, unmarked=True, allow_torchscript=True
    )
    tower = None if proxy is None else dino_from_file(published.proxy, proxy)
    with naming_files(*options.clip):  # an unsuitable tower is reported before anything is written
        image_tower(Parts(towers, tower, ""), published)
    sam = None if options.sam is None else sam_from_folder(options.sam)
    card = _card(options, towers, sam)
    return Imported(card, flat_state(towers, tower, sam))


def card_settings(
    card: ModelCard, policy: PolicyName, architecture: str, quick_gelu: bool, proposals: str | None = None
) -> dict[str, Any]:
    """Changes of the bundled card for weights from a file under a policy, by field."""
    entry = published()[policy]
    stated = entry["settings"]
    changes = {"architecture": architecture, "pretrained": None, "quick_gelu": quick_gelu}
    settings = published_policy(policy).model_copy(update=changes | ({"proposals": proposals} if proposals else {}))
    sides = {"short_side": stated["short_side"], "long_side": stated.get("long_side", LONG_SIDE)}
    refine = entry.get("refine", "pamr" if settings.pamr_iterations else "none")
    return {
        "settings": settings.model_dump(mode="json"),
        "input": card.input.model_copy(update=sides),
        "background": card.background.model_copy(update={"words": list(background_words(stated["background_words"]))}),
        "refine": refine,
        "refinements": list(dict.fromkeys(["none", "pamr", "lposs", refine])),
        "embedding": configuration(architecture)["embed_dim"],
        "text_tower": f"CLIP {architecture}",
    }


def _card(options: Options, towers: ClipTowers, sam: Sam | None) -> ModelCard:
    policy, card = options.policy, own_card("dense_clip")
    changes = card_settings(card, policy, towers.architecture, towers.quick_gelu, options.proposals)
    changes["summary"] = f"Policy {policy} in the last block of {towers.architecture}; training-free."
    changes["lineage"] = imported_from(*options.clip, options.proxy)
    if not {file_digest(path) for path in options.clip} <= openai_digests():
        changes |= terms_of_files(card)
    if published_policy(policy).takes_masks:
        licence = changes.get("licence", card.licence)
        masks = f"Masks of {changes['settings']['proposals']}: its terms hold, too."
        changes |= {"licence": f"{licence} {masks}", "commercial_use": "ask"}
    if sam is not None:
        changes["settings"]["sam"] = sam.config
    return card.model_copy(update=changes)
