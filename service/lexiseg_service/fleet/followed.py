"""The followed objects of a video stream, for a failover to another worker.

Only the worker knows what an object looks like. The gateway keeps the box of each object's last mask: after a failover
the first frame shows each object again by that box, shifted by its last motion. An object that was lost before, or that
cannot be shown, is reported as lost until the client shows it again.
"""

from __future__ import annotations

from dataclasses import replace

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.types import Prompt
from lexiseg_service.question.messages import Followed, StreamQuestion, VideoFrame

Box = tuple[float, float, float, float]


class FollowedObjects:
    """The objects of one stream."""

    def __init__(self) -> None:
        self._boxes: dict[int, Box | None] = {}  # by track id; None: lost
        self._again: dict[int, Box] = {}  # to be shown to the new worker
        self._shown: VideoFrame | None = None  # the frame that shows them
        self._before: dict[int, Box] = {}  # of the previous answer
        self._size = (0, 0)  # height, width of the last frame
        self._ended: set[int] = set()  # by dropped frames; the next frame that is not dropped ends them
        self._meaning: tuple[object, ...] | None = None

    def ask(self, question: StreamQuestion) -> None:
        """Take a new question; another model, size or task forgets all objects."""
        request = question.request
        meaning = (request.model, request.max_side) if request.task == "prompt" else None
        if meaning != self._meaning:
            self._boxes.clear()
            self._again.clear()
        self._meaning = meaning

    def move(self) -> None:
        """Prepare for a new worker."""
        self._again = {
            number: _shifted(box, self._before.get(number, box), self._size)
            for number, box in self._boxes.items()
            if box is not None
        }
        self._shown = None

    def resumed(self, frame: VideoFrame) -> VideoFrame:
        """A frame for the worker, with the objects that it must show again."""
        if not self._again or self._shown is not None:
            return frame
        self._shown = frame
        named = {*frame.unfollow, *(each.track_id for each in frame.follow)}
        again = [Followed(number, Prompt(box=box)) for number, box in self._again.items() if number not in named]
        # After the frame's own, so that errors name the places in the client's message.
        return replace(frame, follow=(*frame.follow, *again))

    def hear(self, frame: VideoFrame, message: pb.SegmentVideoResponse) -> None:
        """Take the answer to a frame, and add objects that the worker does not know to its lost ones."""
        if self._meaning is None:
            return
        if message.dropped:
            self._ended.update(frame.unfollow)
            return
        if not message.HasField("answer"):
            self._failed(frame, message)
            return
        began = {each.track_id for each in frame.follow}
        for number in (self._ended | set(frame.unfollow)) - began:
            self._boxes.pop(number, None)
        self._ended.clear()
        if self._shown is not None:
            for segment in message.answer.segments:
                if segment.track_id in self._again.keys() - began:
                    segment.ClearField("prompt_index")  # the client sent no prompt for it
            self._again, self._shown = {}, None
        self._before = {number: box for number, box in self._boxes.items() if box is not None and number not in began}
        self._size = (message.answer.size.height, message.answer.size.width)
        unknown = self._boxes.keys() - set(message.lost)
        self._boxes |= dict.fromkeys(message.lost)
        for segment in message.answer.segments:
            x, y, wide, high = (segment.bbox.x, segment.bbox.y, segment.bbox.width, segment.bbox.height)
            self._boxes[segment.track_id] = (x, y, x + wide, y + high)
            unknown -= {segment.track_id}
        for number in unknown:
            self._boxes[number] = None
        message.lost.extend(sorted(unknown))

    def _failed(self, frame: VideoFrame, message: pb.SegmentVideoResponse) -> None:
        """A failed frame shows nothing: the next one does, unless the objects themselves cannot be shown."""
        if frame is not self._shown:
            return
        self._shown = None
        own = len(frame.follow)
        places = [error.field.removeprefix("prompts.") for error in message.error.errors]
        if any(place.split(".")[0].isdigit() and int(place.split(".")[0]) >= own for place in places):
            self._boxes |= dict.fromkeys(self._again)
            self._again = {}


def _shifted(box: Box, before: Box, size: tuple[int, int]) -> Box:
    """A box shifted by its last motion, inside the frame; unchanged if that leaves nothing of it."""
    across, down = ((box[low] + box[low + 2] - before[low] - before[low + 2]) / 2 for low in (0, 1))
    left, right = (min(max(side + across, 0.0), float(size[1])) for side in (box[0], box[2]))
    top, bottom = (min(max(side + down, 0.0), float(size[0])) for side in (box[1], box[3]))
    return (left, top, right, bottom) if right - left >= 1 and bottom - top >= 1 else box
