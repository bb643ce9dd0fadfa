"""Official checkpoints -> model directories: weights as safetensors, a card beside them. Done once, then served.

The only place that reads TorchScript archives, as OpenAI publishes its models: loading one runs code of the archive.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model import catalog
from lexiseg_model.clip.checkpoint import read_tensors
from lexiseg_model.clip.dino import dino_from_file
from lexiseg_model.clip.towers import from_files
from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.dense_clip.dinoiser import DinoiserHeads, heads_from_state
from lexiseg_model.methods.dense_clip.network import DenseNetwork
from lexiseg_model.methods.dense_clip.settings import PolicyName, card_settings, published_policy
from lexiseg_model.methods.dense_clip.stored import flat_state
from lexiseg_model.methods.s_seg import checkpoint as s_seg
from lexiseg_model.methods.tcl import checkpoint as tcl
from lexiseg_model.methods.unpair_seg import checkpoint as unpair_seg
from lexiseg_model.methods.unpair_seg.settings import ARCHITECTURE as CONVNEXT
from lexiseg_model.methods.unpair_seg.sizes import PUBLISHED
from lexiseg_model.types import ModelCard
from lexiseg_model.weights import WEIGHTS, file_digest, told_of

WITHOUT_ADAPTER = "without an adapter"  # stands in the limit of Unpair-Seg's card that an adapter lifts


def import_tcl(name: str, checkpoint: Path, clip: Sequence[Path], models_dir: Path, replace: bool = False) -> Path:
    """The authors' `tcl.pth` over OpenAI's ViT-B/16.

    Args:
        name: of the model directory, and on the card.
        checkpoint: the released file, or that of a whole training run.
        clip: the towers in one file or two; none where `checkpoint` holds them.
        models_dir: where the model directory goes.
        replace: an existing directory of that name is replaced.

    Returns:
        The model directory.

    Raises:
        WeightsError: a file is missing, damaged, or not what it is taken for.
        OptionError: the name is taken or cannot be one.
    """
    folder = _folder(name, "tcl", models_dir, replace)
    official = tcl.read_official(checkpoint)
    # Whatever CLIP it is, it is served as OpenAI's: one that says it was trained otherwise is refused.
    towers = from_files(tcl.ARCHITECTURE, clip, quick_gelu=True, allow_torchscript=True) if clip else None
    with told_of(checkpoint):
        state = tcl.from_official(official, None if towers is None else towers.state)
        tcl.restore(state)  # shapes are checked before anything is written
    card = catalog.read_card(catalog.BUNDLED_CARDS["tcl"])
    sources = ", ".join(path.name for path in (checkpoint, *clip))
    return _write(folder, card.model_copy(update={"name": name, "lineage": f"Imported from {sources}."}), state)


def import_dense_clip(
    name: str,
    clip: Sequence[Path],
    models_dir: Path,
    policy: PolicyName = "naclip",
    architecture: str = tcl.ARCHITECTURE,
    quick_gelu: bool | None = None,
    proxy: Path | None = None,
    heads: Path | None = None,
    replace: bool = False,
) -> Path:
    """CLIP weights under an attention policy; arguments, answer and errors as `import_tcl`.

    Args:
        architecture: open_clip's name of the model in the files.
        quick_gelu: its activation; None reads it off the files, and takes OpenAI's where they do not tell.
        proxy: the tower of DINO that proxyclip asks.
        heads: the trained convolutions of clip_dinoiser.
    """
    folder = _folder(name, "dense_clip", models_dir, replace)
    for file, wants, option in ((proxy, "proxyclip", "--proxy"), (heads, "clip_dinoiser", "--heads")):
        if (file is not None) != (policy == wants):
            got = "no file" if file is None else str(file)
            raise OptionError(f"--policy {wants} and {option} belong together; got --policy {policy} and {got}")
    towers = from_files(architecture, clip, quick_gelu=quick_gelu, unmarked=True, allow_torchscript=True)
    tower = None if proxy is None else dino_from_file(published_policy(policy).settings.proxy, proxy)
    convolutions = None if heads is None else _heads(heads)
    with told_of(*clip):  # a tower whose last block cannot be opened, before anything is written
        DenseNetwork(towers.visual, published_policy(policy).settings, tower, convolutions)
    bundled = catalog.read_card(catalog.BUNDLED_CARDS["dense-clip"])
    sources = ", ".join(path.name for path in (*clip, *filter(None, (proxy, heads))))
    changes = card_settings(bundled, policy, towers.architecture, towers.quick_gelu) | {
        "name": name,
        "summary": f"Policy {policy} in the last block of {towers.architecture}; training-free.",
        "lineage": f"Imported from {sources}.",
    }
    return _write(folder, bundled.model_copy(update=changes), flat_state(towers, tower, convolutions))


def import_s_seg(
    name: str, checkpoint: Path, models_dir: Path, backbone: str | None = None, replace: bool = False
) -> Path:
    """A training checkpoint of S-Seg; arguments, answer and errors as `import_tcl`.

    Args:
        backbone: timm's name of the backbone in it; None for Swin-S, the published one.
    """
    folder = _folder(name, "s_seg", models_dir, replace)
    state, settings = s_seg.read_trained(checkpoint, backbone)
    card = catalog.read_card(catalog.BUNDLED_CARDS["s-seg"])
    sizes = settings.model_dump(mode="json", exclude_unset=True)
    changes = {
        "name": name,
        "summary": f"S-Seg over {settings.backbone}, {settings.n_queries} masks an image.",
        "licence": "that of the imported weights",
        "training_data": ["that of the imported weights"],
        "lineage": f"Imported from {checkpoint.name}.",
        "embedding": settings.embedding,
        "settings": card.settings | sizes,
    }
    return _write(folder, card.model_copy(update=changes), state)


def import_unpair_seg(
    name: str,
    checkpoint: Path,
    clip: Sequence[Path],
    models_dir: Path,
    architecture: str = CONVNEXT,
    replace: bool = False,
) -> Path:
    """The authors' stage one, or stages one and two of an own training; answer and errors as `import_tcl`.

    Args:
        name: of the model directory, and on the card.
        checkpoint: stage one as detectron2 writes it, `{"model": ...}`, or a training's file, of any size.
        clip: CLIP's towers in one file or two; none where `checkpoint` holds them.
        models_dir: where the model directory goes.
        architecture: open_clip's name of that CLIP, a ConvNeXt.
        replace: an existing directory of that name is replaced.
    """
    folder = _folder(name, "unpair_seg", models_dir, replace)
    towers = from_files(architecture, clip, quick_gelu=False) if clip else None
    weights = unpair_seg.read_weights(checkpoint, None if towers is None else towers.state)
    with told_of(checkpoint):
        # Shapes are checked before anything is written.
        restored = unpair_seg.restore(weights.state, architecture, weights.names)
    card = catalog.read_card(catalog.BUNDLED_CARDS["unpair-seg"])
    changes: dict[str, object] = {
        "name": name,
        "lineage": f"Imported from {', '.join(path.name for path in (checkpoint, *clip))}.",
        "embedding": restored.embedding,
        "settings": card.settings | {"architecture": restored.towers.architecture},
    }
    published = restored.towers.architecture == CONVNEXT and restored.network.masks.sizes == PUBLISHED
    if weights.own or not published:  # the authors released one checkpoint
        whose = "that of the imported weights"
        changes |= {
            "summary": f"Masks for points, boxes and everything over {restored.towers.architecture}, named by CLIP.",
            "text_tower": f"CLIP {restored.towers.architecture}",
            "licence": whose,
            "training_data": [whose],
        }
    if restored.network.adapter is not None:
        changes["limits"] = [limit for limit in card.limits if WITHOUT_ADAPTER not in limit]
    return _write(folder, card.model_copy(update=changes), weights.state)


def _heads(path: Path) -> DinoiserHeads:
    tensors = read_tensors(path)
    with told_of(path):
        return heads_from_state(tensors)


def _folder(name: str, method: str, models_dir: Path, replace: bool) -> Path:
    if not name or name != Path(name).name or name.startswith(".") or "@" in name or "," in name:
        raise OptionError(f"model name {name!r}; expected a plain name without /, @ or a comma")
    bundled = catalog.BUNDLED_CARDS.get(name)
    if bundled is not None and (own := catalog.read_card(bundled).method) != method:
        raise OptionError(f"{name} is the name of a model that is always there, of method {own}; choose another name")
    folder = models_dir / name
    if folder.exists() and not replace:
        raise OptionError(f"{folder} exists; choose another name, or replace it with --replace")
    return folder


def _write(folder: Path, card: ModelCard, state: dict[str, Tensor]) -> Path:
    """Into a folder beside it first: a broken import leaves nothing that looks like a model."""
    for key, value in state.items():
        if not value.isfinite().all():
            raise WeightsError(f"weights for {card.name}: {key} has values that are not finite; expected numbers")
    draft = folder.with_name(f".{folder.name}.importing")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        save_file({key: value.contiguous() for key, value in state.items()}, draft / WEIGHTS)
        card = card.model_copy(update={"weights_sha256": file_digest(draft / WEIGHTS), "quality": {}})
        text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, width=120, allow_unicode=True)
        (draft / catalog.CARD).write_text(text)
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder
