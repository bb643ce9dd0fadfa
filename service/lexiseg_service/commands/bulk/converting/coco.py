"""COCO's annotations with run lengths, written as they come: DST/coco/annotations.json."""

from __future__ import annotations

import io
import json

from lexiseg_service.commands.bulk.converting.answers import answers
from lexiseg_service.commands.bulk.job import Job
from lexiseg_service.commands.bulk.plan import Destination, Size


def write_coco(job: Job, destination: Destination, size: Size) -> None:
    """`file_name` is the input's id. Images first, then annotations: the rows are read twice and held never."""
    with destination.open("coco/annotations.json", "wb") as raw, io.TextIOWrapper(raw, "utf-8") as out:
        categories = [{"id": n, "name": entry.name} for n, entry in enumerate(job.vocabulary.classes, 1)]
        out.write('{"info": ' + json.dumps({"description": "lexiseg bulk", "asked": job.asked}))
        out.write(', "categories": ' + json.dumps(categories))
        out.write(', "images": [')
        for number, row in enumerate(answers(destination, size), 1):
            height, width = row["size"]
            image = {"id": number, "file_name": row["id"], "height": height, "width": width}
            out.write((",\n" if number > 1 else "\n") + json.dumps(image))
        out.write('\n], "annotations": [')
        count = 0
        for number, row in enumerate(answers(destination, size), 1):
            for segment in row["segments"]:
                count += 1
                annotation = {
                    "id": count,
                    "image_id": number,
                    "category_id": segment["class_index"] + 1,
                    "segmentation": segment["rle"],
                    "area": segment["area"],
                    "bbox": segment["bbox"],
                    "iscrowd": 0,
                    "score": round(segment["score"], 4),
                }
                out.write((",\n" if count > 1 else "\n") + json.dumps(annotation))
        out.write("\n]}\n")
