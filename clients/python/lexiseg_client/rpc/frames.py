"""Frames of a video and their answers as messages of lexiseg.v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexiseg_client.errors import UnusableImage
from lexiseg_client.pictures.images import ImageId, ImageUrl, file_bytes
from lexiseg_client.question.options import Classes, question_json
from lexiseg_client.question.prompts import prompts_json
from lexiseg_client.rpc import reading
from lexiseg_client.rpc.asking import filled, prompt_message
from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.video import KNOWN, Frame, FrameAnswer, NewQuestion, StreamItem


def config(classes: Classes | None, options: Mapping[str, Any]) -> pb.SegmentVideoRequest:
    """The message that begins a stream, or changes its question.

    Raises:
        TypeError: an unknown option, or one string instead of a list of classes.
        ValueError: a word that has no number.
    """
    question = question_json(classes, options, KNOWN)
    return pb.SegmentVideoRequest(config=filled(pb.StreamConfig(), question))


def message_of(item: StreamItem) -> pb.SegmentVideoRequest:
    """A frame, packed, or a change of the question.

    Raises:
        UnusableImage: no image, or one that is elsewhere.
        OSError: its file cannot be read.
        TypeError, ValueError: an object to be followed is shown by what is no prompt, or has no number.
    """
    if isinstance(item, NewQuestion):
        return item.message
    frame = item if isinstance(item, Frame) else Frame(item)
    if isinstance(frame.image, (ImageId, ImageUrl)) or (isinstance(frame.image, str) and "://" in frame.image):
        raise UnusableImage("expected a frame's own bytes or pixels; a stream takes no URLs and no image ids")
    shown = prompts_json(list(frame.follow.values())) if frame.follow else []
    follow = [
        pb.Follow(track_id=number, prompt=prompt_message(prompt))
        for number, prompt in zip(frame.follow, shown, strict=True)
    ]
    return pb.SegmentVideoRequest(
        frame=pb.Frame(
            image=file_bytes(frame.image),
            timestamp_us=frame.timestamp_us,
            id=frame.id,
            follow=follow,
            unfollow=frame.unfollow,
        )
    )


def read_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    """A message of the server's."""
    return FrameAnswer(
        frame_id=message.frame_id,
        timestamp_us=message.timestamp_us,
        answer=reading.segmentation(message.answer) if message.HasField("answer") else None,
        dropped=message.dropped,
        error=reading.problem_error(message.error) if message.HasField("error") else None,
        state_reset=message.state_reset,
        lost=tuple(message.lost),
    )
