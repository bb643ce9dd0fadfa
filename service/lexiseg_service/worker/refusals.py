"""Errors of a model as the errors that a client sees."""

from __future__ import annotations

from lexiseg_model.errors import (
    ExamplesError,
    FieldError,
    ForeignExamplesError,
    ForeignLessonError,
    OptionError,
    ShapeError,
    TaskError,
    TeachingError,
)
from lexiseg_service.errors import InvalidValue, ModelChanged, NotReady
from lexiseg_service.question.messages import WorkerRequest


def client_error(error: BaseException, request: WorkerRequest) -> BaseException:
    """Translate an error of the model into the error that the client sees.

    A TaskError becomes an invalid `task`, and an OptionError an invalid `refine` if the request has one. Other errors
    stay as they are: no change of the request would avoid them.
    """
    if request.region_classes is not None and isinstance(error, TeachingError):
        return InvalidValue.because(request.regions[0].field if request.regions else "pictures", str(error))
    if request.region_classes is not None and isinstance(error, TaskError | OptionError):
        return InvalidValue.of("model", request.model, f"a model that can be taught so ({error})")
    if request.regions and isinstance(error, TaskError | OptionError | ShapeError):
        field = request.regions[0].field
        return InvalidValue.of(field, "an example", f"a region that {request.model} can use ({error})")
    if any(entry.is_taught for entry in request.vocabulary.classes) and isinstance(
        error, ForeignLessonError | TaskError
    ):
        return ModelChanged(f"head: {error}")
    if any(entry.shown is not None for entry in request.vocabulary.classes):
        if isinstance(error, ExamplesError):
            return InvalidValue.of("classes", "examples", f"words alone ({error})")
        if isinstance(error, ForeignExamplesError):
            return NotReady("the model changed while the examples were encoded; send the request again")
    if isinstance(error, FieldError):
        return InvalidValue.of(error.field, error.value, error.expected)
    if isinstance(error, TaskError):
        return InvalidValue.of("task", request.task, f"a task that {request.model} can do on this image ({error})")
    if isinstance(error, OptionError) and request.refine not in (None, "none"):
        return InvalidValue.of("refine", request.refine, f"none, or nothing ({error})")
    return error
