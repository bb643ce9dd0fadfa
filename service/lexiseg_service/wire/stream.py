"""The steps of a video stream and its answers on the wire between gateway and worker."""

from __future__ import annotations

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs import worker_pb2 as internal
from lexiseg_service.question.stream_messages import Followed, FrameAnswer, StreamQuestion, VideoFrame
from lexiseg_service.wire.answer import decode_answer, decode_track_ids, encode_answer
from lexiseg_service.wire.enums import DROP_POLICIES, word_of
from lexiseg_service.wire.errors import error_of, problem_of
from lexiseg_service.wire.request import (
    decode_question,
    decode_size,
    encode_origin,
    encode_prompt,
    encode_question,
    encode_size,
    read_prompt,
)


def encode_step(step: StreamQuestion | VideoFrame) -> internal.WorkerSegmentVideoRequest:
    """A question or a frame."""
    if isinstance(step, VideoFrame):
        frame = pb.Frame(
            image=step.image,
            timestamp_us=step.timestamp_us,
            id=step.id,
            follow=[pb.Follow(track_id=each.track_id, prompt=encode_prompt(each.prompt)) for each in step.follow],
            unfollow=step.unfollow,
        )
        size = None if step.size is None else encode_size(step.size)
        return internal.WorkerSegmentVideoRequest(frame=frame, size=size)
    config = internal.WorkerStreamConfig(
        question=encode_question(step.request),
        smoothing=step.smoothing,
        tracking=step.tracking,
        drop_policy=DROP_POLICIES[step.drop_policy],
        frames_in_flight=step.frames_in_flight,
        origin=encode_origin(step.request),
        resumed=step.resumed,
    )
    return internal.WorkerSegmentVideoRequest(config=config)


def decode_step(message: internal.WorkerSegmentVideoRequest) -> StreamQuestion | VideoFrame:
    """What `encode_step` wrote."""
    if message.HasField("frame"):
        frame = message.frame
        return VideoFrame(
            image=frame.image,
            id=frame.id,
            timestamp_us=frame.timestamp_us,
            follow=tuple(Followed(each.track_id, read_prompt(each.prompt)) for each in frame.follow),
            unfollow=tuple(frame.unfollow),
            size=decode_size(message),
        )
    config = message.config
    return StreamQuestion(
        request=decode_question(config.question, config.origin),
        smoothing=config.smoothing,
        tracking=config.tracking,
        drop_policy=word_of(DROP_POLICIES, config.drop_policy) or "none",
        frames_in_flight=config.frames_in_flight,
        resumed=config.resumed,
    )


def encode_frame_answer(answer: FrameAnswer, request_id: str = "") -> pb.SegmentVideoResponse:
    """One frame's message."""
    return pb.SegmentVideoResponse(
        frame_id=answer.frame_id,
        timestamp_us=answer.timestamp_us,
        answer=None if answer.answer is None else encode_answer(answer.answer, request_id, answer.track_ids),
        dropped=answer.dropped,
        error=None if answer.error is None else problem_of(answer.error, request_id),
        state_reset=answer.state_reset,
        lost=answer.lost,
    )


def decode_frame_answer(message: pb.SegmentVideoResponse) -> FrameAnswer:
    """What `encode_frame_answer` wrote."""
    answered = message.HasField("answer")
    return FrameAnswer(
        frame_id=message.frame_id,
        timestamp_us=message.timestamp_us,
        answer=decode_answer(message.answer) if answered else None,
        dropped=message.dropped,
        error=error_of(message.error) if message.HasField("error") else None,
        state_reset=message.state_reset,
        track_ids=decode_track_ids(message.answer) if answered else (),
        lost=tuple(message.lost),
    )
