"""Writes what is installed beside this interpreter as CycloneDX 1.5: `python sbom.py NAME VERSION > sbom.cdx.json`.

Standard library only: it runs in the images' build stages. Packages of the system are not in it; `docker buildx build
--sbom=true` adds them.
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from typing import Any


def document(name: str, version: str) -> dict[str, Any]:
    """The packages, by name; a name that two paths have counts once."""
    installed = {_canonical(package.metadata["Name"]): package for package in metadata.distributions()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "version": version}},
        "components": [_component(canonical, package) for canonical, package in sorted(installed.items())],
    }


def _component(canonical: str, package: metadata.Distribution) -> dict[str, Any]:
    told = package.metadata
    licence = told.get("License-Expression") or told.get("License")
    one_line = licence and "\n" not in licence.strip() and len(licence) < 200
    return {
        "type": "library",
        "name": canonical,
        "version": package.version,
        "purl": f"pkg:pypi/{canonical}@{package.version}",
        **({"licenses": [{"license": {"name": licence.strip()}}]} if licence and one_line else {}),
    }


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    json.dump(document(sys.argv[1], sys.argv[2]), sys.stdout, indent=1)
    print()
