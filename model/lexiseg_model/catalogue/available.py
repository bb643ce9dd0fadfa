"""List of all models that can be served (`available.yaml`): backbone, sizes, licence, published figures. No torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from lexiseg_model.cards import StrictModel

FILE = Path(__file__).with_suffix(".yaml")
RELEASED = FILE.with_name("released.yaml")  # written by `python -m benchmarks released`
MAX_DIFFERENCE = 1e-4  # of the largest value, for a forward pass that is called equal
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where it was built: 5 instead of 39 ms


class AvailableModel(StrictModel):
    """One model that can be served."""

    name: str = Field(description="name of the model, for `lexiseg serve --model` and requests")
    method: str = Field(description="name of the segmentation method that runs the weights")
    backbone: str = Field(description="networks that the model consists of")
    hub: str | None = Field(
        None, description="repository of the weights on the Hugging Face Hub; null: a file, or bundled"
    )
    download_mb: int = Field(ge=0, description="size of the download in megabytes; 0: nothing is downloaded")
    memory_mb: int = Field(
        ge=0, description="memory for the weights in float32, in megabytes; images and words need more"
    )
    commercial_use: Literal["yes", "no", "terms"] = Field(
        description="whether the weights may be used commercially; terms: their terms decide, read them"
    )
    licence: str = Field(description="licence of the weights, in a phrase")
    figures: dict[str, float] = Field(
        default_factory=dict,
        description="published figures in percent, by data set; mIoU, or the metric that the source names",
    )
    source: str = Field(description="publication of the figures, and its protocol")
    command: str = Field(description="command that imports the model, if needed, and serves it")
    proven: Literal["yes", "not yet"] = Field(
        "not yet", description="whether it ran with the authors' weights and came near the published figures"
    )
    forward_equal: Literal["yes", "no", "not compared"] = Field(
        "not compared", description="whether its forward pass equals that of the released code, run on random weights"
    )
    comparison: str = Field("", description="the run: largest difference, released code and day; or why there was none")
    further: str = Field("", description="figures that need more than the released weights, and their requirements")
    card: dict[str, Any] = Field(default_factory=dict, exclude=True, description="changes to the method's card")
    check: dict[str, float] = Field(
        default_factory=dict,
        exclude=True,
        description="share of the test picture by word, as measured by `lexiseg models check`",
    )
    check_of: str | None = Field(None, exclude=True, description="beginning of the SHA-256 of the checked weights")

    @property
    def download(self) -> str:
        """Size of the download and licence, in one line."""
        use = {"yes": "commercial use: yes", "no": "no commercial use", "terms": "read its terms"}[self.commercial_use]
        return f"{self.download_mb:,} MB, licence: {self.licence} ({use})"


@cache
def available() -> dict[str, AvailableModel]:
    """The models of `available.yaml` by name, in its order."""
    listed, runs = (yaml.load(file.read_text(encoding="utf-8"), LOADER) for file in (FILE, RELEASED))
    return {
        entry["name"]: AvailableModel.model_validate({**entry, **_compared(runs[entry["name"]])}) for entry in listed
    }


def _compared(run: dict[str, Any]) -> dict[str, str]:
    if "difference" not in run:
        return {"forward_equal": "not compared", "comparison": run["reason"]}
    is_equal = "yes" if run["difference"] <= MAX_DIFFERENCE else "no"
    comparison = f"{run['difference']:.1e} of the largest value, {run['code']}, {run['day']}"
    return {"forward_equal": is_equal, "comparison": comparison}
