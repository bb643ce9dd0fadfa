"""What a model alone can refuse, once it has seen the image, in the words of the request."""

from __future__ import annotations

from lexiseg_model.errors import OptionError, TaskError
from lexiseg_service.errors import InvalidValue
from lexiseg_service.question.messages import WorkerRequest


def refusal_of(error: BaseException, request: WorkerRequest) -> BaseException:
    """The error that the client of a request hears of.

    A TaskError is about the task, whatever the card says of it, and an OptionError about the refinement where the
    request asks for one. Any other stays: nothing of it can be mended by asking otherwise.
    """
    if isinstance(error, TaskError):
        return InvalidValue.of("task", request.task, f"a task that {request.model} can do about this image ({error})")
    if isinstance(error, OptionError) and request.refine not in (None, "none"):
        return InvalidValue.of("refine", request.refine, f"none, or nothing ({error})")
    return error
