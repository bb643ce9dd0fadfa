"""CVAT XML: of images (`CVAT for images 1.1`) with masks, of a video (`CVAT for video 1.1`) with tracks of polygons.

Masks are run lengths in their boxes, row by row, background first. Shapes that are read are handed over as `marks` has
them. Of a video the frames are read in which somebody set a shape.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from lexiseg_labels.data_set import DataSet, Format, category_name
from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.formats.marks import SLACK, Listed, box_corners, ellipse, reader_of, shape_reader, turned
from lexiseg_labels.masks.joining import joined_contour
from lexiseg_labels.masks.outlines import Size
from lexiseg_labels.masks.rle import encode, lengths_of
from lexiseg_labels.segments import UNNAMED, Answer, Segment, exportable, segment_rings
from lexiseg_labels.tracks import Clip, Keyframe, frame_name, shapes_in

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # characters without a form in XML 1.0
LISTING = "annotations.xml"
DECLARATION = "<?xml version='1.0' encoding='utf-8'?>\n"
NO_MARK = frozenset({"tag"})
RADII = ("rx", "ry")
TRACK_TOLERANCE = 1.0  # pixels by which outlines of tracks may deviate: labellers move their corners
MAX_FRAME_DIGITS = 9


def xml_text(text: str) -> str:
    """A text with characters without a form in XML escaped as in JSON, for names of files."""
    return NO_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def add_texts(parent: ElementTree.Element, **texts: object) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = xml_text(str(text))


def to_cvat(
    answer: Answer,
    image_name: str,
    *,
    image_id: int = 0,
    shape: Literal["mask", "polygon"] = "mask",
    simplify: float = 0.0,
) -> str:
    """CVAT XML (`CVAT for images 1.1`) for this image.

    Args:
        image_name: name of the image file in the task.
        shape: "mask" keeps masks exact; "polygon" joins parts as `to_yolo`.
        simplify: as for `to_labelme`.

    Raises:
        ValueError: an unknown shape.
        NoMasks: requested with mask="none".
    """
    if shape not in ("mask", "polygon"):
        raise ValueError(f"shape: expected mask or polygon, got {shape!r}")
    root = ElementTree.Element("annotations")
    add_texts(root, version="1.1")
    image = _image(image_id, image_name, answer.size)
    root.append(image)
    for segment in exportable(answer.segments):
        extra = _mask(segment) if shape == "mask" else _polygon(segment, simplify)
        _add(image, shape, segment.label or UNNAMED, extra)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode", xml_declaration=True) + "\n"


def _image(number: int, name: str, size: tuple[int, int]) -> ElementTree.Element:
    height, width = map(str, size)
    return ElementTree.Element("image", {"id": str(number), "name": xml_text(name), "width": width, "height": height})


def _add(image: ElementTree.Element, shape: str, label: str, extra: dict[str, str]) -> None:
    common = {"label": xml_text(label), "source": "auto", "occluded": "0", "z_order": "0"}
    ElementTree.SubElement(image, shape, common | extra)


def _mask(segment: Segment) -> dict[str, str]:
    x, y, width, height = segment.bbox
    crop = segment.shape.pixels()[y : y + height, x : x + width]
    runs = ", ".join(map(str, lengths_of(crop.reshape(-1))))  # row by row
    return {"rle": runs, "left": str(x), "top": str(y), "width": str(width), "height": str(height)}


def _polygon(segment: Segment, tolerance: float) -> dict[str, str]:
    corners = joined_contour(segment_rings(segment, tolerance)).tolist()
    return {"points": ";".join(f"{x},{y}" for x, y in corners)}


def _annotations(data: DataSet) -> Iterator[bytes]:
    yield f"{DECLARATION}<annotations>\n  <version>1.1</version>\n  <meta><task><labels>".encode()
    for name in data.categories:  # of the task, without which datumaro reads no labels
        label = ElementTree.Element("label")
        add_texts(label, name=name)
        yield ElementTree.tostring(label, "unicode").encode()
    yield b"</labels></task></meta>\n"
    for number, picture in enumerate(data.pictures()):
        image = _image(number, picture.source or picture.file_name, picture.size)
        for segment in exportable(picture.segments):
            _add(image, "mask", category_name(segment, data.classes), _mask(segment))
        ElementTree.indent(image, level=1)
        yield f"  {ElementTree.tostring(image, 'unicode')}\n".encode()
    yield b"</annotations>\n"


def video_xml(clip: Clip) -> bytes:
    """CVAT XML (`CVAT for video 1.1`): a track for each object, with a polygon in each frame that shows it."""
    root = ElementTree.Element("annotations")
    add_texts(root, version="1.1")
    meta = ElementTree.SubElement(root, "meta")
    task = ElementTree.SubElement(meta, "task")
    add_texts(task, name=clip.name, size=clip.n_frames, mode="interpolation")
    labels = ElementTree.SubElement(task, "labels")
    for name in dict.fromkeys(label for _, label in clip.tracks):
        add_texts(ElementTree.SubElement(labels, "label"), name=name)
    add_texts(ElementTree.SubElement(task, "original_size"), width=clip.size[1], height=clip.size[0])
    add_texts(meta, source=clip.name)
    for number, ((_, label), by_frame) in enumerate(clip.tracks.items()):
        about = {"id": str(number), "label": xml_text(label), "source": "auto"}
        track = ElementTree.SubElement(root, "track", about)
        for frame, segment in by_frame.items():
            outline = {"keyframe": "1", "occluded": "0", "z_order": "0", **_polygon(segment, TRACK_TOLERANCE)}
            ElementTree.SubElement(track, "polygon", {"frame": str(frame), "outside": "0", **outline})
            if frame + 1 not in by_frame and frame + 1 < clip.n_frames:
                ElementTree.SubElement(track, "polygon", {"frame": str(frame + 1), "outside": "1", **outline})
    ElementTree.indent(root)
    return f"{DECLARATION}{ElementTree.tostring(root, 'unicode')}\n".encode()


def pictures_of(content: bytes) -> Iterator[Listed]:
    """The pictures of a file, each to be read before the next; of a video at its end."""
    # An entity may stand for any amount of text; CVAT writes UTF-8 without a DTD.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content or b"\0" in content:
        raise UnreadableLabels("XML with a DTD, or not in UTF-8, is not read")
    meta, tracks = ElementTree.Element("meta"), list[ElementTree.Element]()
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(content)):
            if element.tag == "meta":
                meta = element
            elif element.tag == "track":
                tracks.append(element)
            elif element.tag == "image":
                name, height, width = (element.get(key) for key in ("name", "height", "width"))
                if name and (subset := element.get("subset")):  # a folder of a project, in which names repeat
                    name = f"{subset}/{name}"
                marks = [each for each in element if each.tag not in NO_MARK]
                yield Listed(name or "", height, width, reader_of(marks, _shape_of))
                element.clear()
    except (LookupError, ValueError) as error:
        raise UnreadableLabels(f"its code page is not read ({error}): save it as UTF-8") from None
    yield from _frames_of(tracks, meta)


def _frames_of(tracks: Sequence[ElementTree.Element], meta: ElementTree.Element) -> Iterator[Listed]:
    if len({track.get("task_id") for track in tracks}) > 1:
        raise UnreadableLabels("tracks of several tasks: export each by itself")
    keyframes = [sorted(map(_keyframe, track), key=lambda each: each.frame) for track in tracks]
    frames = {each.frame for some in keyframes for each in some if each.raw.get("keyframe") != "0"}
    for track in tracks:
        for element in track:
            element.set("label", track.get("label", ""))
    height, width, video = (meta.findtext(f".//{name}") for name in ("height", "width", "source"))
    for frame in sorted(frames):
        read = shape_reader(partial(shapes_in, keyframes, frame, _shape_of))
        yield Listed(frame_name(frame), height, width, read, video=video)


def _keyframe(element: ElementTree.Element) -> Keyframe[ElementTree.Element]:
    is_seen, frame = element.get("outside") != "1", element.get("frame", "")
    if not frame.isdecimal() or len(frame) > MAX_FRAME_DIGITS:
        raise UnreadableLabels(f"a shape of a track in frame {frame!r:.40}; expected a whole number")
    return Keyframe(int(frame), element, is_seen, is_seen)


def _shape_of(element: ElementTree.Element, size: Size) -> dict[str, Any]:
    """A shape on a photograph [H, W]; one of an unknown kind, or with unusable numbers, has the points it states."""
    shape = {"label": element.get("label", ""), "z_order": element.get("z_order", 0)}
    for read in (_outline_of, _points_of):
        try:
            return shape | read(element, size)
        except ValueError:
            continue
    return shape | {"shape_type": element.tag}


def _outline_of(element: ElementTree.Element, size: Size) -> dict[str, Any]:
    turn = float(element.get("rotation", 0))
    if element.tag == "mask":
        return _points_of(element, size) | {"segmentation": _run_lengths(element, size)}
    if element.tag == "box":
        left, top, right, bottom = (float(element.get(name, "")) for name in ("xtl", "ytl", "xbr", "ybr"))
        if not turn:
            return {"shape_type": "rectangle", "points": [[left, top], [right, bottom]]}
        corners = box_corners(left, top, right - left, bottom - top)
        centre = ((left + right) / 2, (top + bottom) / 2)
        return {"shape_type": "rotation", "points": turned(corners, centre, turn)}
    if element.tag == "ellipse":
        x, y, across, down = (float(element.get(name, "")) for name in ("cx", "cy", *RADII))
        return {"shape_type": "polygon", "points": ellipse(x, y, across, down, turn)}
    return _points_of(element, size)


def _points_of(element: ElementTree.Element, size: Size) -> dict[str, Any]:
    """All points of an element and of elements in it: `points`, left and top, and each x with its y."""
    del size
    points = []
    for each in element.iter():
        about = each.attrib
        pairs = [pair.split(",") for pair in about.get("points", "").split(";") if pair]
        pairs += [
            [about[x], about[y]]
            for x in about
            if "x" in x and x not in RADII and (y := x.replace("x", "y", 1)) in about
        ]
        points += [[float(x), float(y)] for x, y in pairs]
        if "left" in about and "top" in about:
            left, top, width, height = (float(about.get(key, 0)) for key in ("left", "top", "width", "height"))
            points += [[left, top], [left + width - 1, top + height - 1]]
    return {"shape_type": element.tag, "points": points}


def _run_lengths(element: ElementTree.Element, size: Size) -> dict[str, Any]:
    """The run lengths of a `mask` element, cut to its picture [H, W]."""
    left, top, width, height = (int(element.get(name, "")) for name in ("left", "top", "width", "height"))
    counts = [int(run) for run in element.get("rle", "").split(",")]
    fits = 0 <= left <= size[1] + SLACK - width and 0 <= top <= size[0] + SLACK - height and min(width, height) > 0
    if not fits or min(counts) < 0 or sum(counts) != width * height:
        raise ValueError("runs that do not fill their box, or a box outside the picture")
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    whole: NDArray[np.bool_] = np.zeros(size, np.bool_)
    inside = whole[top : top + height, left : left + width]
    inside[:] = pixels[: inside.shape[0], : inside.shape[1]]
    return {"size": list(size), "counts": encode(whole)}


FORMAT = Format(
    "cvat",
    f"{LISTING} (CVAT for images 1.1)",
    shared=lambda data: [(LISTING, _annotations(data))],
    listing=LISTING,
)
