"""Files from the model hub. Where it cannot be reached the error comes at once, and says what to do."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError, RepositoryNotFoundError

from lexiseg_model.available import AvailableModel, available
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import (
    DamagedWeightsError,
    GatedWeightsError,
    InterruptedDownloadError,
    MissingWeightsError,
    WeightsError,
)

logger = logging.getLogger(__name__)

REACH_SECONDS = 5.0  # to find out whether the hub answers; its client alone would try for most of a minute
SHA256 = re.compile("[0-9a-f]{64}")  # the cache's name of a large file; small ones are named by a digest of git
INDEX = ".safetensors.index.json"  # names the parts of weights that one file would not hold


def why_out_of_reach() -> str | None:
    """Why the hub cannot be reached; None when its front page answers."""
    # Absent from older versions, which have a constant alone.
    if getattr(constants, "is_offline_mode", lambda: constants.HF_HUB_OFFLINE)():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception as error:  # transports differ by version of the hub's client
        return f"{constants.ENDPOINT} does not answer: {error}"
    return None


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
        raise missing(wanted, silence)
    for model in (entry for entry in available().values() if entry.hub == repository):
        announce(model)
    reason: Exception | None = None
    for name in files:
        try:
            return Path(hf_hub_download(repository, name, cache_dir=cache))
        except Exception as error:  # whatever the hub's client and its transport raise
            reason = error
    raise missing(wanted, f"{constants.ENDPOINT} gave none of {', '.join(files)}: {reason}") from reason


def missing(wanted: str, reason: str) -> MissingWeightsError:
    """The error for weights that are not cached and cannot be downloaded."""
    return MissingWeightsError(
        f"no {wanted}: not in the cache, and not to be had ({reason}). Either start once where the hub can be "
        "reached, or bring the weights as files: `lexiseg models import --method dense-clip --clip FILE NAME` with "
        "LEXISEG_MODELS_DIR set, then `--model NAME`; a recipe of training takes clip=FILE, or tower=FILE"
    )


def fetch_folder(model: AvailableModel, files: Sequence[tuple[str, ...]], cache: Path | None = None) -> Path:
    """The folder of a repository's files in the hub's cache, after what is missing was downloaded.

    The hub's client resumes where a connection broke. A downloaded file's SHA-256 is compared with the published one.

    Args:
        model: names the repository, and says the size and the licence before a download.
        files: groups of names; the first of each that is there is taken, and of an index of weights all its parts.
        cache: folder of the hub's cache, None for its own default.

    Raises:
        MissingWeightsError: a file is not in the cache, and the hub cannot be reached or does not have it.
        GatedWeightsError: the licence must be accepted on the hub first.
        InterruptedDownloadError: the connection broke more often than the client tries.
        DamagedWeightsError: a file's digest is wrong.
    """
    cached = [_cached(model, group, cache) for group in files]
    if None in cached:
        silence = why_out_of_reach()
        if silence is not None:
            absent = [group[0] for group, path in zip(files, cached, strict=True) if path is None]
            raise _not_here(model, absent, silence)
        announce(model)
    paths = [path or _download_any(model, group, cache) for group, path in zip(files, cached, strict=True)]
    for index in (path for path in paths if path.name.endswith(INDEX)):
        for part in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
            _cached(model, (part,), cache) or _download_any(model, (part,), cache)
    return paths[0].parent


def announce(model: AvailableModel) -> None:
    """Log what a download takes, and what the licence of the weights allows."""
    logger.warning("downloading %s for %s: %s", model.hub, model.name, model.download)


def _cached(model: AvailableModel, names: Sequence[str], cache: Path | None) -> Path | None:
    """The first of some files that the hub's cache has."""
    there = (try_to_load_from_cache(str(model.hub), name, cache_dir=cache) for name in names)
    return next((Path(path) for path in there if isinstance(path, str)), None)


def _download_any(model: AvailableModel, names: Sequence[str], cache: Path | None) -> Path:
    """The first of some files that the hub has."""
    for name in names:
        try:
            path = Path(hf_hub_download(str(model.hub), name, cache_dir=cache))
        except GatedRepoError:
            raise GatedWeightsError(
                f"{model.name}: {constants.ENDPOINT}/{model.hub} is gated; accept its licence ({model.licence}) there "
                "and set HF_TOKEN to a token of that account"
            ) from None
        except (RemoteEntryNotFoundError, RepositoryNotFoundError):
            continue
        except Exception as error:  # whatever the hub's client and its transport raise
            raise InterruptedDownloadError(
                f"{model.name}: the download of {name} from {model.hub} ended early ({type(error).__name__}); "
                "start again where the connection holds"
            ) from error
        _require_digest(model, path)
        return path
    raise _not_here(model, names[:1], f"{constants.ENDPOINT} has no such file")


def _require_digest(model: AvailableModel, path: Path) -> None:
    """Compare a downloaded file with its SHA-256, which is its name among the cache's blobs."""
    blob = path.resolve()
    if SHA256.fullmatch(blob.name) and (digest := file_digest(blob)) != blob.name:
        blob.unlink()
        path.unlink()
        raise DamagedWeightsError(
            f"{model.name}: {path.name} of {model.hub} has sha256 {digest}; expected {blob.name}; it was removed, "
            "start again to download it anew"
        )


def _not_here(model: AvailableModel, files: Sequence[str], reason: str) -> WeightsError:
    return MissingWeightsError(
        f"{model.name}: no {', '.join(files)} of {model.hub} ({reason}); start once where the hub can be reached "
        f"({model.download}), or copy the files of {model.hub} to a folder and import it: `lexiseg models import "
        f"--method {model.method.replace('_', '-')} --checkpoint FOLDER {model.name}`"
    )
