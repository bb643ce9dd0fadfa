"""Ultralytics' data set of segmentation: DST/yolo with images/, labels/, train.txt, val.txt and data.yaml."""

from __future__ import annotations

from lexiseg_client import CacheUse, Segmentation, Timings
from lexiseg_client import Segment as ClientSegment
from lexiseg_client.segments import RunLengths
from lexiseg_service.commands.bulk.converting.answers import Names, ids_of_answers, rle_of
from lexiseg_service.commands.bulk.converting.pictures import pictures_of
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size
from lexiseg_service.commands.bulk.rows import Row
from lexiseg_service.commands.yolo import Splits, data_yaml


def write_yolo(job: Job, destination: Destination, size: Size) -> None:
    """Pictures are read from the source once more."""
    names = Names(ids_of_answers(destination, size))
    with (
        destination.open("yolo/train.txt", "w") as train,
        destination.open("yolo/val.txt", "w") as val,
        Splits(train, val) as splits,
    ):
        for chunk in range(size.chunks):
            for row, picture, suffix in pictures_of(job, destination, chunk):
                name = names.of(row["id"])
                destination.write(f"yolo/images/{name}.{suffix}", picture)
                destination.write(f"yolo/labels/{name}.txt", _labels(row).encode())
                splits.add(f"{name}.{suffix}")
    destination.write("yolo/data.yaml", data_yaml([entry.name for entry in job.vocabulary.classes]))


def _labels(row: Row) -> str:
    """The lines of `Segmentation.to_yolo`."""
    segments = [_segment(number, segment) for number, segment in enumerate(row["segments"], 1)]
    if not segments:
        return ""
    size = row["segments"][0]["rle"]["size"]
    answer = Segmentation("", "", "", "", "", tuple(size), tuple(segments), Timings(), CacheUse())
    return answer.to_yolo()


def _segment(number: int, segment: Row) -> ClientSegment:
    rle = rle_of(segment)
    shape = RunLengths(rle.size, rle.counts)
    return ClientSegment(number, None, segment["class_index"], segment["score"], rle.area, rle.bbox, shape)
