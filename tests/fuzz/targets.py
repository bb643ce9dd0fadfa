"""What reads bytes of strangers. Each target takes any bytes, and may refuse them by an error with a type alone."""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.catalogue.models import read_card
from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.errors import DatasetError, ModelError, ShapeError
from lexiseg_model.masks.rle import decode, decode_spans, encode_mask, encode_spans
from lexiseg_model.types import Rle
from lexiseg_service.errors import ServiceError
from lexiseg_service.gateway.rpc.parse import read_question
from lexiseg_service.image.reader import decode as decode_image
from lexiseg_service.image.reader import read_header
from lexiseg_service.question.classes import resolve
from lexiseg_service.question.prompts import resolve_prompts
from lexiseg_service.settings import Limits
from lexiseg_train.data.own.prepare import survey

LIMITS = Limits(max_pixels=1 << 16)  # what is larger only takes longer
MOST_SIDE = 64
CARD_ENDS = b"\0weights\0"  # between a model directory's card and its weights


def image(content: bytes) -> None:
    """An upload: its header, then its pixels."""
    with suppress(ServiceError):
        header = read_header(content, LIMITS)
        decoded = decode_image(content, LIMITS, None)
        assert decoded.rgb.shape == (*header.size, 3)
        assert decoded.rgb.dtype == np.uint8
        decode_image(content, LIMITS, 16)


def rle(content: bytes) -> None:
    """Run lengths: two bytes of size, then the counts. What is taken is written again as the same mask."""
    if len(content) < 2:
        return
    size = (1 + content[0] % MOST_SIDE, 1 + content[1] % MOST_SIDE)
    counts = content[2:].decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode("utf-8")
    given = Rle(size, counts, 0, (0, 0, size[1], size[0]))
    with suppress(ShapeError):
        mask = decode(given)
        assert mask.shape == size
        np.testing.assert_array_equal(decode(encode_spans(decode_spans(given), size)), mask)
        np.testing.assert_array_equal(decode(encode_mask(mask)), mask)


def message(content: bytes) -> None:
    """A gRPC request: parsed, and all of its question checked."""
    with suppress(DecodeError, ServiceError):
        question = read_question(pb.SegmentRequest.FromString(content), LIMITS)
        resolve(question, LIMITS, None)
        resolve_prompts(question, "prompt", LIMITS)


def model(content: bytes) -> None:
    """A model directory: its card, and weights of safetensors."""
    card, _, weights = content.partition(CARD_ENDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "card.yaml").write_bytes(card)
        (folder / "weights.safetensors").write_bytes(weights)
        with suppress(ModelError):
            read_card(folder)
        with suppress(ModelError):
            read_weights(folder / "weights.safetensors", None)


NEXT_FILE = b"\0file\0"  # between the files of a data set; each is a name, a line feed and its content
ARCHIVES = (b"PK", b"TAR\n")  # beginnings of an input that is a zip, or a tar after its first line
SECRET = "secret-of-another-client"
PRIVATE = ("/etc/", "/proc/")
_opened: list[str] | None = None  # paths, while a data set is read


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | bytes):
        _opened.append(os.path.realpath(os.fsdecode(arguments[0])))


def data_set(content: bytes) -> None:
    """A data set that a client sends for a training: an archive, or files as it would hold them.

    What is read lies inside it, and no word of a file beside it is in the report.
    """
    global _opened
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        (place / "private").mkdir()
        (place / "private/words.txt").write_text(f"{SECRET}\n0 .1 .1 .5 .1 .5 .5\n")
        source = place / "set"
        if content.startswith(ARCHIVES):
            source.write_bytes(content.removeprefix(ARCHIVES[1]))
        else:
            _write_files(source, content)
        if _note_opened not in _hooked:
            sys.addaudithook(_note_opened)
            _hooked.append(_note_opened)
        opened: list[str] = []
        _opened = opened
        said = ""
        try:
            said = "\n".join(survey(source).lines())
        except DatasetError as error:
            said = str(error)
        finally:
            _opened = None
        assert not [path for path in opened if path.startswith((f"{place / 'private'}", *PRIVATE))]
        assert SECRET not in said
        assert str(place / "private") not in said


_hooked: list[object] = []


def _write_files(folder: Path, content: bytes) -> None:
    folder.mkdir()
    for file in content.split(NEXT_FILE):
        name, _, text = file.partition(b"\n")
        path = folder / os.fsdecode(name.replace(b"\0", b""))
        with suppress(OSError, ValueError):  # no name of this file system, or a folder of another file
            if ".." not in path.parts and path.is_relative_to(folder) and path != folder:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": image, "rle": rle, "message": message, "model": model, "data-set": data_set,
}  # fmt: skip
