"""Files from the model hub. Without it the answer comes at once, and says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

from lexiseg_model.catalogue.hub import why_out_of_reach
from lexiseg_model.errors import WeightsError

CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # as open_clip looks for them


def fetch(repository: str, files: Sequence[str], wanted: str, cache: Path | None = None) -> Path:
    """The first of `files` that the cache has, else the first that the hub has.

    Args:
        repository: the hub's, `owner/name`.
        files: names in order of preference.
        wanted: what it is, for the message.
        cache: folder of the hub's cache, None for its own default.

    Raises:
        WeightsError: not in the cache, and cannot be downloaded; says the two ways to provide it.
    """
    for name in files:
        cached = try_to_load_from_cache(repository, name, cache_dir=cache)
        if isinstance(cached, str):
            return Path(cached)
    silence = why_out_of_reach()
    if silence is not None:
        raise _missing(wanted, silence)
    reason: Exception | None = None
    for name in files:
        try:
            return Path(hf_hub_download(repository, name, cache_dir=cache))
        except Exception as error:  # whatever the hub's client and its transport raise
            reason = error
    raise _missing(wanted, f"{constants.ENDPOINT} gave none of {', '.join(files)}: {reason}") from reason


def fetch_clip(architecture: str, tag: str, config: dict[str, Any], cache: Path | None = None) -> Path:
    """The file of one of open_clip's pretrained tags; `config` is open_clip's entry of it.

    Raises:
        WeightsError: as `fetch`.
    """
    wanted = f"weights {tag} of {architecture}"
    repository, _, file = str(config.get("hf_hub", "")).rpartition("/")
    if repository:
        return fetch(repository, (file,) if file else CLIP_FILES, wanted, cache)
    try:
        return Path(open_clip.download_pretrained(config, cache_dir=None if cache is None else str(cache)))
    except Exception as error:  # an address of its own, not the hub's
        raise _missing(wanted, f"{config.get('url')}: {error}") from error


def _missing(wanted: str, reason: str) -> WeightsError:
    return WeightsError(
        f"no {wanted}: not in the cache, and not to be had ({reason}). Either start once where the hub can be "
        "reached, or bring the weights as files: `lexiseg models import --method dense-clip --clip FILE NAME` with "
        "LEXISEG_MODELS_DIR set, then `--model NAME`; a recipe of training takes clip=FILE, or tower=FILE"
    )
