"""Download weight files from the model hub, or fail fast with instructions where it cannot be reached."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

from lexiseg_model.catalogue.available import AvailableModel, available
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError

logger = logging.getLogger(__name__)

DOWNLOADING = "downloading %s for %s (in all %s)"
PROBE_SECONDS = 5.0  # timeout of the connection test; the hub's client would retry for most of a minute
SHA256 = re.compile("[0-9a-f]{64}")  # the cache names large files by it; small ones by their git digest
INDEX = ".safetensors.index.json"  # lists the shards of weights in several files


def unreachable_reason() -> str | None:
    """Why the hub cannot be reached; None when its front page answers."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception as error:  # transports differ by version of the hub's client
        return f"{constants.ENDPOINT} does not answer: {error}"
    return None


def fetch(repository: str, files: Sequence[str], what: str, model: str | None = None) -> Path:
    """The first of `files` in the cache, or of the hub; `what` it is and the `model` that needs it go into messages."""
    if (cached := _cached(repository, files)) is not None:
        return cached
    listed = available().get(model or "")
    entry = listed and listed.model_copy(update={"hub": repository})
    if (unreachable := unreachable_reason()) is not None:
        if entry is not None:
            raise _missing_files(entry, files[:1], unreachable)
        raise missing(f"{what} ({files[0]} of {repository})", unreachable)
    if entry is not None:
        logger.warning(DOWNLOADING, entry.hub, entry.name, entry.download)
    path = _download_any(repository, files, what)
    if path is None:
        raise missing(what, f"{constants.ENDPOINT}/{repository} has none of {', '.join(files)}")
    return path


def missing(what: str, reason: str) -> WeightsError:
    """The error for weights that are not cached and cannot be downloaded."""
    return WeightsError(
        f"no {what}: not in the cache, and it cannot be downloaded ({reason}); start once where the hub can be "
        "reached, or bring the file: `lexiseg models import --method dense-clip --clip FILE NAME`, and in a training "
        "recipe clip=FILE or tower=FILE"
    )


def fetch_folder(model: AvailableModel, files: Sequence[tuple[str, ...]]) -> Path:
    """Download the missing files of a repository; return its folder in the hub's cache.

    Of each group of `files` the first name that exists is taken, and all shards of an index.
    """
    cached = [_cached(str(model.hub), group) for group in files]
    if None in cached:
        if (unreachable := unreachable_reason()) is not None:
            absent = [group[0] for group, path in zip(files, cached, strict=True) if path is None]
            raise _missing_files(model, absent, unreachable)
        logger.warning(DOWNLOADING, model.hub, model.name, model.download)
    paths = [path or _download(model, group) for group, path in zip(files, cached, strict=True)]
    for index in (path for path in paths if path.name.endswith(INDEX)):
        for shard in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
            if _cached(str(model.hub), (shard,)) is None:
                _download(model, (shard,))
    return paths[0].parent


def _cached(repository: str, names: Sequence[str]) -> Path | None:
    paths = (try_to_load_from_cache(repository, name) for name in names)
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def _download(model: AvailableModel, names: Sequence[str]) -> Path:
    path = _download_any(str(model.hub), names, f"{model.name} (licence: {model.licence})")
    if path is None:
        raise _missing_files(model, names[:1], f"{constants.ENDPOINT} has no such file")
    return path


def _download_any(repository: str, names: Sequence[str], what: str) -> Path | None:
    for name in names:
        try:
            path = Path(hf_hub_download(repository, name))
        except GatedRepoError:
            raise WeightsError(
                f"{what}: {constants.ENDPOINT}/{repository} is gated; accept its licence there and set HF_TOKEN to a "
                "token of that account"
            ) from None
        except (RemoteEntryNotFoundError, RepositoryNotFoundError):
            continue
        except Exception as error:  # whatever the hub's client and its transport raise
            raise WeightsError(
                f"{what}: the download of {name} from {repository} ended early ({type(error).__name__}); "
                "start again to resume it"
            ) from error
        blob = path.resolve()
        if SHA256.fullmatch(blob.name) and (digest := file_digest(blob)) != blob.name:
            blob.unlink()
            path.unlink()
            raise WeightsError(
                f"{what}: {path.name} of {repository} has sha256 {digest}; expected {blob.name}; it was removed: "
                "start again to download it"
            )
        return path
    return None


def _missing_files(model: AvailableModel, files: Sequence[str], reason: str) -> WeightsError:
    return WeightsError(
        f"{model.name}: no {', '.join(files)} of {model.hub} ({reason}); start once where the hub can be reached "
        f"({model.download}), or copy the files of {model.hub} here and import them: `lexiseg models import "
        f"--method {model.method.replace('_', '-')} --help` says how"
    )
