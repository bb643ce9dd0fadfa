"""A distribution of somebody else's, as pip installs it: modules, and entry points that name them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lexiseg_labels import exports
from lexiseg_model.catalogue import method
from lexiseg_service.entry_points import entry_points_of


@contextmanager
def installed(site: Path, package: str, files: Mapping[str, str], **groups: Mapping[str, str]) -> Iterator[None]:
    """Install a distribution while the block runs; `groups` of entry points as `adapters={"acme": "acme:adapter"}`."""
    points = (
        f"[lexiseg.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in groups.items()
    )
    about = f"{package}-1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n"
    for name, text in {f"{about}/METADATA": metadata, f"{about}/entry_points.txt": "\n".join(points), **files}.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        _forget(package)
        patch.syspath_prepend(site)
        try:
            yield
        finally:
            _forget(package)


def _forget(package: str) -> None:
    """Python keeps modules for the whole process; a later test would find those of this one, whose folder is gone."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    for found in (entry_points_of, exports.formats, exports._from_outside, method._by_entry_point):
        found.cache_clear()
