"""GeoJSON (RFC 7946): a feature for each segment, for maps and for microscopy (QuPath, napari)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexiseg_client.masks.polygons import Ring
from lexiseg_client.segments import Segment, borders, exported


def document(segments: Sequence[Segment], tolerance: float, transform: Sequence[float] | None) -> dict[str, Any]:
    """See `Segmentation.to_geojson`."""
    matrix = np.array([1, 0, 0, 0, 1, 0] if transform is None else list(transform), np.float64)
    if matrix.shape != (6,) or not np.isfinite(matrix).all():
        raise ValueError("transform: expected six numbers a, b, c, d, e, f of x' = a x + b y + c, y' = d x + e y + f")
    matrix = matrix.reshape(2, 3)
    exact = transform is None
    return {
        "type": "FeatureCollection",
        "features": [_feature(segment, borders(segment, tolerance), matrix, exact) for segment in exported(segments)],
    }


def _feature(segment: Segment, rings: tuple[Ring, ...], matrix: NDArray[np.float64], exact: bool) -> dict[str, Any]:
    # Exteriors run clockwise on the screen, which is counterclockwise where y points up, as RFC 7946 requires. A
    # transform that mirrors, as one to coordinates on the earth does, reverses them.
    mirrored = np.linalg.det(matrix[:, :2]) < 0

    def closed(loop: NDArray[np.int64]) -> list[list[float]]:
        places = loop if exact else loop @ matrix[:, :2].T + matrix[:, 2]
        places = places[::-1] if mirrored else places
        coordinates: list[list[float]] = np.concatenate([places, places[:1]]).tolist()
        return coordinates

    parts = [[closed(loop) for loop in (ring.exterior, *ring.holes)] for ring in rings]
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
