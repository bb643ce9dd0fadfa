"""Errors of forms that cannot be read."""

from __future__ import annotations

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from lexiseg_service.errors import InvalidValue, MalformedRequest, ServiceError, TooLarge
from lexiseg_service.settings import Limits

REPEATED = "classes"
MAX_FILES = 2
MAX_IMAGES = 16  # of one question: some seconds of two cores, of the deadline's 30
MAX_OTHER_FIELDS = 64  # of a form, besides its classes
IMAGE = f"one file in the multipart field `image`, as curl sends it with -F image=@FILE, or up to {MAX_IMAGES}"


def what_came(form: FormData, files: int) -> str:
    """What came instead of one file, for an error; without @, curl sends the file's name as text."""
    texts = [value for value in form.getlist("image") if isinstance(value, str)]
    if texts and not files:
        return f"the text {texts[0][:80]!r}"
    others = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != "image"]
    return f"{files} files" + (f", and one in {others[0][:80]!r}" if others and not files else "")


def form_error(error: Exception, limits: Limits, max_fields: int, max_files: int) -> ServiceError:
    """The error for a form that the parser refused: a field over a limit, or a damaged form."""
    detail = error.message if isinstance(error, MultiPartException) else type(error).__name__
    if detail.startswith("Too many fields"):
        return InvalidValue.of(REPEATED, f"more than {max_fields} fields", f"at most {limits.max_classes}")
    if detail.startswith("Too many files"):
        return InvalidValue.of("image", f"more than {max_files} files", IMAGE)
    if detail.startswith("Part exceeded maximum size"):
        return too_long(limits)
    return MalformedRequest(f"the multipart body cannot be read: {detail}")


def too_long(limits: Limits) -> ServiceError:
    return TooLarge(f"a text of the form has more than {limits.max_question_bytes:,} bytes")
