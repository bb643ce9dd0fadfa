"""Errors of the model package, a tree below `ModelError`. Messages state what came and what was expected."""

from __future__ import annotations


class ModelError(Exception):
    """Base class of all errors that this package raises deliberately."""


class ShapeError(ModelError, ValueError):
    """An array has the wrong shape, size or dtype."""


class OptionError(ModelError, ValueError):
    """An option or value lies outside its range."""


class FieldError(OptionError):
    """The model cannot use the value of a field; `field` is its path in the request."""

    def __init__(self, field: str, value: str, expected: str) -> None:
        super().__init__(f"{field}: expected {expected}, got {value}")
        self.field, self.value, self.expected = field, value, expected


class ForeignExamplesError(OptionError):
    """Rows of examples were encoded by another model, or by other weights of it."""


class TeachingError(OptionError):
    """Pictures teach a head nothing, or a lesson or head cannot be read."""


class ForeignLessonError(TeachingError):
    """A lesson or a head belongs to another model, or to other weights of it."""


class StoppedError(ModelError):
    """Another thread ended the work."""


class UnknownModelError(ModelError, LookupError):
    """No model of that name is bundled or installed."""


class TaskError(ModelError):
    """The model cannot do the requested task."""


class ExamplesError(TaskError):
    """The model takes no classes by example, or not these."""


class WeightsError(ModelError):
    """Weights are missing, damaged, or belong to another model."""


class DatasetError(ModelError):
    """A data set is missing or not in the expected layout."""


class SampleError(DatasetError):
    """One sample of a data set cannot be used: `sample` is its file, `reason` the defect."""

    def __init__(self, sample: str, reason: str) -> None:
        super().__init__(f"{sample}: {reason}")
        self.sample, self.reason = sample, reason

    def __reduce__(self) -> tuple[type[SampleError], tuple[str, str]]:
        # Sent through a pipe from a worker process; by default exceptions are rebuilt from only their message.
        return type(self), (self.sample, self.reason)


class PictureError(ModelError):
    """A file is no picture that can be shown; the message leaves out the file's name."""


class UnsupportedPictureError(PictureError):
    """Not a still picture of a format and kind that is taken."""


class DamagedPictureError(PictureError):
    """It begins like a picture, but is damaged or cut short."""


class TooManyEntriesError(ModelError):
    """An archive has more entries than its reader takes; the message says what it has."""


class RecipeError(ModelError):
    """A recipe does not exist or does not validate."""


class TrainingError(ModelError):
    """A training run cannot go on."""


class ExportError(ModelError):
    """ONNX Runtime is missing, or an export cannot be made, is damaged, or belongs to other weights."""
