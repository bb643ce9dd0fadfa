"""A widget of napari: words name what an image shows, points cut out one object; both become a layer of labels."""

import napari
import numpy as np
from magicgui import magic_factory
from napari.layers import Image, Points
from napari.qt.threading import FunctionWorker, thread_worker
from napari.types import LayerDataTuple
from numpy.typing import NDArray

from lexiseg_client import Client, Point, Prompt, Segmentation


@magic_factory(
    call_button="Segment",
    words={"tooltip": "separated by commas; not asked where there are points"},
    on={"tooltip": "points on one object"},
    outside={"tooltip": "points that the object must not hold"},
    server={"tooltip": "address of the service; the environment's LEXISEG_API_KEY is the key"},
)
def segment(
    viewer: napari.Viewer,
    image: Image,
    words: str = "sky, building",
    on: Points | None = None,
    outside: Points | None = None,
    server: str = "http://localhost:8000",
) -> FunctionWorker[LayerDataTuple]:
    """Ask the service in a thread; napari adds the layer, or shows why there is none."""
    named = [word.strip() for word in words.split(",") if word.strip()]
    points = [*points_in(on, image, True), *points_in(outside, image, False)]
    asked = {"prompts": [Prompt(points=points)]} if points else {"classes": named}
    pixels = rgb(image, viewer.dims.current_step)

    @thread_worker(start_thread=True)
    def ask() -> LayerDataTuple:
        with Client(server) as client:
            answer = client.segment(pixels, **asked)
        return layer_of(answer, image, "object" if points else ", ".join(named))

    return ask()


def rgb(image: Image, step: tuple[int, ...]) -> NDArray[np.uint8]:
    """The visible plane of an image layer as [H, W, 3], scaled by its contrast limits where it is not of bytes."""
    data = image.data[0] if image.multiscale else image.data
    plane = np.asarray(data[step[-image.ndim : -2]])
    if plane.dtype != np.uint8:
        low, high = image.contrast_limits
        plane = (255 * np.clip((plane - low) / (high - low), 0, 1)).astype(np.uint8)
    return plane[..., :3] if image.rgb else np.stack([plane] * 3, axis=-1)


def points_in(layer: Points | None, image: Image, positive: bool) -> list[Point]:
    """The points of a layer in pixels of an image."""
    if layer is None:
        return []
    places = [image.world_to_data(layer.data_to_world(place)) for place in layer.data]
    return [Point(x=float(place[-1]), y=float(place[-2]), positive=positive) for place in places]


def layer_of(answer: Segmentation, image: Image, what: str) -> LayerDataTuple:
    """An answer as labels at the place of its image, in the layer of that name if there is one.

    Features are by label value, row 0 of pixels without a segment.
    """
    features = {
        "label": ["", *(segment.label or "object" for segment in answer)],
        "score": [0.0, *(segment.score for segment in answer)],
    }
    place = {"scale": image.scale[-2:], "translate": image.translate[-2:]}
    return answer.label_map.astype(np.int32), {"name": f"{image.name}: {what}", "features": features, **place}, "labels"
