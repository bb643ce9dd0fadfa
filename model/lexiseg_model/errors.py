"""What can go wrong in model/, as one small tree. Messages say what came and what was expected.

ModelError
 +- ShapeError         an array has the wrong shape, size or dtype
 +- OptionError        an option or value outside its range
 |   +- PromptError    a prompt that corrects nothing that can be read
 +- UnknownModelError  no model of that name
 +- TaskError          the model cannot do the task
 +- WeightsError       weights missing, damaged or of another model
 |   +- MissingWeightsError        no file, and no hub to download it from
 |   +- DamagedWeightsError        the digest is not the published one
 |   +- GatedWeightsError          the hub asks for an accepted licence or a token
 |   +- InterruptedDownloadError   the connection broke too often
 |   +- ForeignWeightsError        of another size or architecture
 |   +- ShortMemoryError           more than the device has free
 +- DatasetError       a data set missing or not in the expected layout
 |   +- SampleError    one sample of it that cannot be used; the others can
 |   +- MissingFilesError   what was to be fetched is not there
 +- RecipeError        a recipe that does not exist or does not validate
 +- TrainingError      a run cannot go on
 +- ExportError        ONNX Runtime or an export is missing, damaged or of other weights
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ModelError(Exception):
    """Root of every error that model/ raises on purpose."""


class ShapeError(ModelError, ValueError):
    """An array has the wrong shape, size or dtype."""


class OptionError(ModelError, ValueError):
    """An option or value lies outside its range."""


class PromptError(OptionError):
    """A prompt corrects a mask that cannot be read, or a segment that is not there; `field` is its place."""

    def __init__(self, field: str, value: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {value}")
        self.field, self.value, self.expected = field, value, expected


class UnknownModelError(ModelError, LookupError):
    """No model of that name is bundled or installed."""


class TaskError(ModelError):
    """The model cannot do the task that was asked for."""


class WeightsError(ModelError):
    """Weights are missing, damaged, or belong to another model."""


class MissingWeightsError(WeightsError):
    """There is no such file, and the hub cannot be reached or has none."""


class DamagedWeightsError(WeightsError):
    """A file's digest is not the published one."""


class GatedWeightsError(WeightsError):
    """The hub gives a repository only to those who accepted its licence, by their token."""


class InterruptedDownloadError(WeightsError):
    """The connection broke more often than the hub's client tries again."""


class ForeignWeightsError(WeightsError):
    """Weights of another size or architecture than the model's."""


class ShortMemoryError(WeightsError):
    """The weights need more memory than the device has free."""


class DatasetError(ModelError):
    """A data set is missing or not in the expected layout."""


class SampleError(DatasetError):
    """One sample of a data set cannot be used: `sample` names its file, `reason` says what is wrong with it."""

    def __init__(self, sample: str, reason: str) -> None:
        super().__init__(f"{sample}: {reason}")
        self.sample, self.reason = sample, reason

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str]]:
        # A worker process raises it through a pipe, and exceptions are rebuilt from their one message.
        return type(self), (self.sample, self.reason)


class MissingFilesError(DatasetError):
    """Files that a data set is made of are not where they were looked for: `missing` says which, and what they hold."""

    def __init__(self, name: str, folder: Path, missing: Sequence[str], present: Sequence[str]) -> None:
        there = f"; of it there is {' and '.join(present)}" if present else ""
        super().__init__(f"{name}: {folder} lacks {' and '.join(missing)}, packed or unpacked{there}")
        self.missing = tuple(missing)


class RecipeError(ModelError):
    """A recipe does not exist or does not validate."""


class TrainingError(ModelError):
    """A training run cannot go on."""


class ExportError(ModelError):
    """ONNX Runtime is not there, or an export cannot be made, is damaged, or belongs to other weights."""
