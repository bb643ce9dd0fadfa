"""What a model alone can refuse, once it has seen the image, in the words of the request."""

from __future__ import annotations

from lexiseg_model.errors import OptionError, ShapeError, TaskError
from lexiseg_service.errors import InvalidValue, NotReady
from lexiseg_service.question.messages import WorkerRequest


def refusal_of(error: BaseException, request: WorkerRequest) -> BaseException:
    """The error that the client of a request hears of.

    A TaskError is about the task, whatever the card says of it, and an OptionError about the refinement where the
    request asks for one. Any other stays: nothing of it can be mended by asking otherwise.
    """
    if request.regions and isinstance(error, TaskError | OptionError | ShapeError):
        field = request.regions[0].field
        return InvalidValue.of(field, "an example", f"what {request.model} can make something of ({error})")
    if any(entry.shown is not None for entry in request.vocabulary.classes):
        if isinstance(error, TaskError) and "by example" in str(error):
            return InvalidValue.of("classes", "examples", f"words alone ({error})")
        if isinstance(error, OptionError) and "examples" in str(error):
            return NotReady("the model changed while the examples were looked at; ask again")
    if isinstance(error, TaskError):
        return InvalidValue.of("task", request.task, f"a task that {request.model} can do about this image ({error})")
    if isinstance(error, OptionError) and request.refine not in (None, "none"):
        return InvalidValue.of("refine", request.refine, f"none, or nothing ({error})")
    return error
