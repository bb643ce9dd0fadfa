"""Results of a job in other forms than JSON lines, each made from the lines and written as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from lexiseg_labels.data_set import DataSet, Picture, picture_of
from lexiseg_labels.exports import Packed, format_of, formats, packed
from lexiseg_labels.names import Names
from lexiseg_labels.segmentation import Segmentation
from lexiseg_service.errors import InvalidValue

Line = Mapping[str, Any]
Lines = Callable[[], Iterable[Line]]  # from the beginning, each time
CHUNK = 2**18  # bytes
ROWS_PER_GROUP = 500
ROW_FORMS = ("jsonl", "parquet")
PARQUET = "application/vnd.apache.parquet"


def form_name(to: str) -> str:
    """The name of a form of results, of which there may be another. Raises ValueError: there is no such form."""
    if to in ROW_FORMS:
        return to
    try:
        return format_of(to).name
    except ValueError:  # its text has the value, which the caller adds
        raise ValueError(f"one of {', '.join([*formats(), *ROW_FORMS])}") from None


Format = Annotated[str, AfterValidator(form_name), WithJsonSchema({"enum": [*ROW_FORMS, *formats()], "type": "string"})]


def check_fits(to: str, question: Mapping[str, Any], classes: Sequence[str]) -> None:
    """Check that a question gives what a format needs, and that the format has room for its classes."""
    if to == "jsonl":
        return
    if (mask := question.get("mask", "rle")) != "rle":
        raise InvalidValue.of("question.mask", mask, f"rle for to={to}")
    for name in ("overlay", "confidence"):
        if question.get(name):
            raise InvalidValue.of(f"question.{name}", "true", f"false for to={to}; only jsonl holds pictures")
    if to == "parquet":
        if find_spec("pyarrow") is None:  # located, not imported: this runs on the event loop
            raise InvalidValue.of("to", to, "another format; this server lacks pyarrow")
        return
    if not format_of(to).has_room(len(classes)):
        raise InvalidValue.of("to", to, f"a format with room for {len(classes):,} classes")


def results(to: str, lines: Lines, classes: Sequence[str]) -> Packed:
    """Results as parquet or labels: one file, or a zip of a data set with labels and pictures.

    They fit the question and the classes, see `check_fits`.
    """
    if to == "parquet":
        return Packed(PARQUET, "results.parquet", _parquet(lines))
    return packed(format_of(to), DataSet(classes, lambda: _pictures(lines)))


def _pictures(lines: Lines) -> Iterator[Picture]:
    names = Names()
    for line in lines():
        if line["answer"] is not None:
            yield picture_of(Segmentation.from_dict(line["answer"]), names.next_for(line["image"]), line["image"])


def _parquet(lines: Lines) -> Iterator[bytes]:
    """One parquet file with a row for each picture, in the columns of `lexiseg bulk`."""
    import pyarrow.parquet

    from lexiseg_service.batch.rows import ROWS, row_of_line

    with TemporaryFile() as file:
        with pyarrow.parquet.ParquetWriter(file, ROWS, compression="zstd") as writer:
            batch: list[dict[str, Any]] = []
            for line in lines():
                batch.append(row_of_line(line))
                if len(batch) == ROWS_PER_GROUP:
                    writer.write_table(pyarrow.Table.from_pylist(batch, ROWS))
                    batch.clear()
            if batch:
                writer.write_table(pyarrow.Table.from_pylist(batch, ROWS))
        file.seek(0)
        while piece := file.read(CHUNK):
            yield piece
