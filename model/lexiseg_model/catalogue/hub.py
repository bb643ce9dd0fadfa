"""Files from the model hub. Where it cannot be reached the error comes at once, and says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, get_session, hf_hub_download, try_to_load_from_cache

from lexiseg_model.errors import WeightsError

REACH_SECONDS = 5.0  # to find out whether the hub answers; its client alone would try for most of a minute


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
    reason: Exception | None = None
    for name in files:
        try:
            return Path(hf_hub_download(repository, name, cache_dir=cache))
        except Exception as error:  # whatever the hub's client and its transport raise
            reason = error
    raise missing(wanted, f"{constants.ENDPOINT} gave none of {', '.join(files)}: {reason}") from reason


def missing(wanted: str, reason: str) -> WeightsError:
    """The error for weights that are not cached and cannot be downloaded."""
    return WeightsError(
        f"no {wanted}: not in the cache, and not to be had ({reason}). Either start once where the hub can be "
        "reached, or bring the weights as files: `lexiseg models import --method dense-clip --clip FILE NAME` with "
        "LEXISEG_MODELS_DIR set, then `--model NAME`; a recipe of training takes clip=FILE, or tower=FILE"
    )
