"""datumaro, with which CVAT imports, reads exports: labels, pixels or boxes by item, and items without a picture."""

import json
import sys
from typing import Any

import datumaro
from datumaro import AnnotationType


def read(path: str, kind: str) -> dict[str, Any]:
    dataset = datumaro.Dataset.import_from(path, kind)
    labels = [label.name for label in dataset.categories()[AnnotationType.label]]
    items = {
        item.id: sorted(
            [each.type.name, labels[each.label], round(each.get_area())]
            for each in item.annotations
            if not each.attributes.get("outside")  # the end of a track
        )
        for item in dataset
    }
    missing = [item.id for item in dataset if item.media is None or item.media.data is None]
    return {"labels": labels, "items": items, "missing": missing}


print(json.dumps([read(path, kind) for path, kind in zip(sys.argv[1::2], sys.argv[2::2], strict=True)]))
