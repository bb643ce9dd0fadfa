"""onnxruntime-web: fetched from the npm registry once, checked, and kept in the user's cache folder."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import httpx

from lexiseg_model.errors import ExportError
from lexiseg_model.export.manifest import default_cache_dir

VERSION = "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # sha512
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PATIENCE = 300.0  # seconds


def fetched() -> Path:
    """A folder with FILES.

    Raises:
        ExportError: the registry does not answer, or what it sends is not what is expected.
    """
    folder = default_cache_dir() / f"onnxruntime-web-{VERSION}"
    if all((folder / name).is_file() for name in FILES):
        return folder
    try:
        package = httpx.get(URL, timeout=PATIENCE, follow_redirects=True).raise_for_status().content
    except httpx.HTTPError as error:
        raise ExportError(f"{URL} cannot be fetched: {error}") from None
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if digest != INTEGRITY:
        raise ExportError(f"{URL} has sha512 {digest} instead of {INTEGRITY}")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for name in FILES:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            draft = folder / f".{name}"
            draft.write_bytes(file.read())
            draft.replace(folder / name)
    return folder
