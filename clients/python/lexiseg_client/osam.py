"""A model of osam that asks a lexiseg server, and Labelme with it: `python -m lexiseg_client.osam photos/`.

Labelme (from 5.5) takes what its AI tools do from osam, under names of models that are fixed in its menus. Here some
of its defaults stand for the server: "Sam2 (balanced)" for points and boxes, "YOLO-World (fast)" for words. Options and
files are Labelme's; the server is that of LEXISEG_BASE_URL and LEXISEG_API_KEY. Needs osam, which comes with Labelme.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

try:
    import osam
    from osam.types import Annotation, BoundingBox, GenerateRequest, GenerateResponse, ModelMetadata
except ImportError as error:
    raise ImportError(f"osam as Labelme 5.5 or later brings it is needed: pip install -U labelme ({error})") from None

from lexiseg_client.client import Client
from lexiseg_client.errors import LexisegError
from lexiseg_client.question import Point, Prompt
from lexiseg_labels.segments import Segment

NAME = "lexiseg:latest"
STANDS_FOR = ("sam2:latest", "yoloworld:latest")  # the defaults of Labelme's menus
TOP_LEFT, BOTTOM_RIGHT = 2, 3  # labels of osam's points that are corners of a box


class Lexiseg(osam.types.Model):
    """osam's interface over a server: annotations for points and boxes, or for words."""

    name = NAME
    metadata = ModelMetadata(license_name="Apache-2.0", license_url="", source_url="", license_spdx="Apache-2.0")
    _blobs: ClassVar[dict[str, Any]] = {}  # nothing to download, as osam sees it
    client: Client | None = None  # None: of the environment
    # Shows why there is nothing, as an exception would end Labelme with what is not saved; None: errors are raised.
    show: ClassVar[Callable[[str], None] | None] = None
    _messages: ClassVar[set[str]] = set()  # since the last answer to points: Labelme asks with each move of the mouse

    def __init__(self) -> None:
        self._client = self.client or Client()

    def generate(self, request: GenerateRequest) -> GenerateResponse:
        """Segment the image of a request."""
        prompt = request.prompt
        if request.image is None or prompt is None:
            raise ValueError("expected an image and a prompt of points or texts")
        try:
            if prompt.texts is not None:
                answer = self._client.segment(request.image, prompt.texts, task="panoptic")
                # Labelme looks the text up as it was typed, with its blanks.
                named = [(segment, prompt.texts[segment.class_index or 0]) for segment in answer]
                for warning in answer.warnings:
                    self._tell(warning.detail)
            else:
                answer = self._client.segment(request.image, prompts=[prompt_of(prompt.points, prompt.point_labels)])
                named = [(segment, None) for segment in answer.of_prompt(0)[:1]]
                self._messages.clear()
        except LexisegError as error:
            if type(self).show is None:
                raise ValueError(str(error)) from None
            if prompt.texts is not None:
                self._messages.clear()
            self._tell(str(error))
            return GenerateResponse(model=request.model, annotations=[])
        annotations = [annotation_of(segment, text) for segment, text in named if segment.area]
        return GenerateResponse(model=request.model, annotations=annotations)

    def _tell(self, sentence: str) -> None:
        """Show a sentence once."""
        if sentence not in self._messages:
            self._messages.add(sentence)
            (type(self).show or logging.getLogger(__name__).warning)(sentence)


def prompt_of(points: Sequence[Sequence[float]], labels: Sequence[int]) -> Prompt:
    """A prompt from osam's points [N, 2] and labels [N]: 0 off the object, 1 on it, 2 and 3 the corners of a box."""
    marks = [(float(x), float(y), int(label)) for (x, y), label in zip(points, labels, strict=True)]
    corners = {label: (x, y) for x, y, label in marks if label in (TOP_LEFT, BOTTOM_RIGHT)}
    box = [*corners[TOP_LEFT], *corners[BOTTOM_RIGHT]] if len(corners) == BOTTOM_RIGHT - TOP_LEFT + 1 else None
    return Prompt([Point(x, y, label == 1) for x, y, label in marks if label in (0, 1)], box)


def annotation_of(segment: Segment, text: str | None) -> Annotation:
    """A segment as osam's annotation: the mask [h, w] of its box, from the first to the last pixel in it."""
    left, top, right, bottom = segment.xyxy
    return Annotation(
        bounding_box=BoundingBox(xmin=left, ymin=top, xmax=right - 1, ymax=bottom - 1),
        text=text,
        score=segment.score,
        mask=segment.mask[top:bottom, left:right].copy(),
    )


def register(*names: str) -> None:
    """Let osam find the server as `lexiseg`, and in place of models of these names."""
    types = [type(model.__name__, (model,), {"name": name}) for name in names for model in (Lexiseg,)]
    others = [model for model in osam.apis.registered_model_types if model.name not in (NAME, *names)]
    osam.apis.registered_model_types[:] = [*others, Lexiseg, *types]


def main() -> None:
    """Run Labelme with the server in place of the models that its menus choose at first."""
    register(*STANDS_FOR)
    from labelme import app
    from labelme.__main__ import main as labelme  # with Qt

    def show(sentence: str) -> None:
        # Later: Labelme asks for previews while it paints.
        app.QtCore.QTimer.singleShot(0, lambda: app.QtWidgets.QMessageBox.warning(None, "lexiseg", sentence))

    Lexiseg.show = show
    sys.argv[0] = "labelme"
    labelme()


if __name__ == "__main__":
    main()
