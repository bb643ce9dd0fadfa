"""Export to GeoJSON (RFC 7946), one feature per segment, for maps and microscopy (QuPath, napari)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import File, Format, Picture
from lexiseg_labels.json_text import SCORE_DECIMALS, json_text, rounded
from lexiseg_labels.masks.polygons import Ring
from lexiseg_labels.segments import Answer, Segment, exportable, segment_rings

IDENTITY: NDArray[np.float64] = np.eye(2, 3)


def to_geojson(answer: Answer, *, simplify: float = 0.0, transform: Sequence[float] | None = None) -> dict[str, Any]:
    """A GeoJSON feature collection: a polygon or multipolygon with holes for each segment.

    Args:
        simplify: as for `to_labelme`.
        transform: a, b, c, d, e, f from pixels to map coordinates: x' = a x + b y + c, y' = d x + e y + f; None keeps
            pixels.

    Raises:
        ValueError: not six finite numbers.
        NoMasks: requested with mask="none".
    """
    matrix = np.array([1, 0, 0, 0, 1, 0] if transform is None else list(transform), np.float64)
    if matrix.shape != (6,) or not np.isfinite(matrix).all():
        raise ValueError("transform: expected six numbers a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f")
    matrix = matrix.reshape(2, 3)
    exact = transform is None
    return {
        "type": "FeatureCollection",
        "features": [
            _feature(segment, segment_rings(segment, simplify), matrix, exact)
            for segment in exportable(answer.segments)
        ],
    }


def _feature(segment: Segment, rings: tuple[Ring, ...], matrix: NDArray[np.float64], exact: bool) -> dict[str, Any]:
    # RFC 7946 wants exteriors counterclockwise with y up: clockwise in pixels, as they are. A transform that mirrors,
    # as one to map coordinates does, reverses the order.
    mirrored = np.linalg.det(matrix[:, :2]) < 0

    def linear_ring(contour: NDArray[np.int64]) -> list[list[float]]:
        corners = contour if exact else contour @ matrix[:, :2].T + matrix[:, 2]
        corners = corners[::-1] if mirrored else corners
        coordinates: list[list[float]] = np.concatenate([corners, corners[:1]]).tolist()
        return coordinates

    parts = [[linear_ring(contour) for contour in (ring.exterior, *ring.holes)] for ring in rings]
    single = len(parts) == 1
    return {
        "type": "Feature",
        "id": segment.id,
        "geometry": {
            "type": "Polygon" if single else "MultiPolygon",
            "coordinates": parts[0] if single else parts,
        },
        "properties": {
            "label": segment.label,
            "class_index": segment.class_index,
            "score": segment.score,
            "area": segment.area,
            **({} if segment.track_id is None else {"track_id": segment.track_id}),
        },
    }


def _of_picture(picture: Picture, classes: Sequence[str]) -> Iterator[File]:
    features = [
        _feature(segment, segment_rings(segment, 0.0), IDENTITY, True) for segment in exportable(picture.segments)
    ]
    for feature in features:
        feature["properties"]["score"] = rounded(feature["properties"]["score"], SCORE_DECIMALS)
    yield f"{picture.name}.geojson", f"{json_text({'type': 'FeatureCollection', 'features': features})}\n".encode()


FORMAT = Format("geojson", "NAME.geojson for each picture, in pixels", _of_picture)
