"""Import a SAM 3 checkpoint in the hub's layout, read by transformers' classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from lexiseg_model.catalogue.importing import Imported, ImportOptions, imported_from
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.sam3.network import TOKENIZER, Sam3Settings, require_transformers
from lexiseg_model.types import BackgroundRule, InputSize, ModelCard, PanopticRule

TEXT_TOKENS = 32  # of Sam3Processor


class Options(ImportOptions):
    """`checkpoint` is a folder as `facebook/sam3` on the hub: config.json, model.safetensors, the processor's files."""

    checkpoint: Path = Field(description="folder of a SAM 3 as the hub has it, which you may use by its licence")


def read(options: Options) -> Imported:
    """The weights, and of the tokenizer and the image processor what is needed to do as they do.

    Raises:
        WeightsError: transformers is not installed, or the folder holds no SAM 3.
    """
    require_transformers()
    folder = options.checkpoint
    if not (folder / "config.json").is_file():
        raise WeightsError(f"{folder} has no config.json; expected a folder of a SAM 3, as the hub has it")
    model, processor = _read(folder)
    size, pictures = processor.image_processor.size, processor.image_processor
    if size["height"] != size["width"] or size["height"] != model.config.image_size:
        raise WeightsError(f"{folder}: the processor makes {size}; expected squares of {model.config.image_size}")
    if processor.tokenizer.pad_token_id is None:
        raise WeightsError(f"{folder}: the tokenizer has no padding")
    settings = Sam3Settings(
        config=_plain(model.config.to_dict()),
        side=size["height"],
        mean=pictures.image_mean,
        std=pictures.image_std,
        tokens=TEXT_TOKENS,
        padding=processor.tokenizer.pad_token_id,
    )
    text = processor.tokenizer.backend_tokenizer.to_str().encode()
    state = {name: value.detach() for name, value in model.state_dict().items()}
    state[TOKENIZER] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    return Imported(_card(settings, folder, int(model.text_projection.out_features)), state)


def _read(folder: Path) -> tuple[Any, Any]:
    from transformers import Sam3Model, Sam3Processor  # optional, and slow to import

    try:
        model, told = Sam3Model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        processor = Sam3Processor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of every kind, as its files are
        raise WeightsError(f"{folder}: transformers cannot read it as a SAM 3: {error}") from None
    if told["missing_keys"]:
        # They would be random.
        raise WeightsError(f"{folder}: {len(told['missing_keys'])} weights are missing, as {min(told['missing_keys'])}")
    return model, processor


def _plain(config: Any) -> Any:
    """Without what says how it was saved, which no network is made of."""
    if isinstance(config, dict):
        left_out = ("transformers_version", "architectures", "dtype", "_name_or_path")
        return {name: _plain(value) for name, value in config.items() if name not in left_out}
    return [_plain(value) for value in config] if isinstance(config, list | tuple) else config


def _card(settings: Sam3Settings, folder: Path, width: int) -> ModelCard:
    return ModelCard(
        name="sam3",
        version="1",
        method="sam3",
        summary="SAM 3 from a checkpoint of yours: every word finds its instances, and words compete for pixels.",
        tasks=["semantic", "instance", "panoptic"],
        licence="that of the imported weights; Meta's are under the SAM License, accepted by whoever fetches them",
        training_data=["that of the imported weights"],
        lineage=imported_from(folder),
        input=InputSize(short_side=settings.side, long_side=settings.side, multiple=settings.side),
        embedding=width,
        text_tower="SAM 3's own",
        background=BackgroundRule(words=[], same_meaning=1.0),
        panoptic=PanopticRule(source="regions", score=settings.probability, overlap=0.5),
        refinements=["none"],
        settings=settings.model_dump(mode="json"),
        limits=[
            "A pass of the decoder for each word: a long list takes long, and longer on a CPU.",
            "One size of input: max_side changes nothing, and features of an image take tens of megabytes.",
            "Points and boxes are no prompts for one thing: SAM 3's boxes are examples of a class, in the picture that "
            "is asked about alone.",
        ],
        weights_sha256=None,
    )
