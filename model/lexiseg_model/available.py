"""List of all models that can be served (`available.yaml`): backbone, sizes, licence, published figures.

The catalogue, the command line and the gateway use it. Does not import torch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from lexiseg_model.types import StrictModel

FILE = Path(__file__).with_suffix(".yaml")


class AvailableModel(StrictModel):
    """One model of the list."""

    name: str = Field(description="what `lexiseg serve --model` and a request call it")
    method: str = Field(description="the code that runs it")
    backbone: str = Field(description="its networks")
    hub: str | None = Field(None, description="repository of the weights on the hub; null: a file, or bundled")
    download_mb: int = Field(ge=0, description="size of the download; 0: nothing is downloaded")
    memory_mb: int = Field(ge=0, description="of the weights in float32; images and words take more")
    commercial_use: Literal["yes", "no", "terms"] = Field(
        description="whether a company may use the weights; terms: it depends on terms that you must read"
    )
    licence: str = Field(description="of the weights, in a phrase")
    figures: dict[str, float] = Field(
        default_factory=dict,
        description="published figures by data set, in percent; mIoU, or what the source names",
    )
    source: str = Field(description="who published the figures, and by which protocol")
    command: str = Field(description="what serves it, or imports it first")
    proven: Literal["yes", "not yet"] = Field(
        "not yet", description="whether it ran on the authors' weights, and came near the published figures"
    )
    further: str = Field("", description="figures that need more than the released weights: which, and what they need")
    card: dict[str, Any] = Field(default_factory=dict, exclude=True, description="changes to the method's card")
    check: dict[str, float] = Field(
        default_factory=dict, exclude=True, description="share of the drawn picture by word (`lexiseg models check`)"
    )
    check_of: str | None = Field(None, exclude=True, description="beginning of the SHA-256 of the weights checked")

    @property
    def download(self) -> str:
        """Size of the download and licence, in one line."""
        use = {"yes": "commercial use: yes", "no": "no commercial use", "terms": "read its terms"}[self.commercial_use]
        return f"{self.download_mb:,} MB, licence: {self.licence} ({use})"


@cache
def available() -> dict[str, AvailableModel]:
    """The models of `available.yaml` by name, in its order."""
    listed = [AvailableModel.model_validate(entry) for entry in yaml.safe_load(FILE.read_text(encoding="utf-8"))]
    return {entry.name: entry for entry in listed}
