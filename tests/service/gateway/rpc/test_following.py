"""Objects that frames of a stream show, followed over a real gRPC channel."""

from typing import Any

import grpc
from PIL import Image

from lexiseg_client.stubs import segmentation_pb2 as pb
from tests import pictures
from tests.model.video.moving import Corner, box, scene
from tests.service.gateway.rpc.calling import error_in, failure
from tests.service.gateway.rpc.streaming import Call, following, opened, read, rest

HERE, THERE = (4, 4), (40, 20)


def config(*classes: str, **fields: Any) -> pb.SegmentVideoRequest:
    listed = [pb.Class(name=name) for name in classes]
    return pb.SegmentVideoRequest(config=pb.StreamConfig(**{"classes": listed, "task": pb.TASK_PROMPT, **fields}))


def shown(number: int, corner: Corner) -> pb.Follow:
    edges = dict(zip(("x0", "y0", "x1", "y1"), box(corner), strict=True))
    return pb.Follow(track_id=number, prompt=pb.Prompt(box=pb.Box(**edges)))


def frame(
    *follow: pb.Follow, unfollow: tuple[int, ...] = (), image: bytes | None = None, **squares: Corner
) -> pb.SegmentVideoRequest:
    content = pictures.encoded(Image.fromarray(scene(**squares))) if image is None else image
    return pb.SegmentVideoRequest(frame=pb.Frame(image=content, follow=follow, unfollow=unfollow))


def numbers(answer: pb.SegmentVideoResponse) -> list[int]:
    assert not answer.HasField("error"), answer.error.detail
    return [segment.track_id for segment in answer.answer.segments]


async def refusal(call: Call) -> str:
    """The field that a stream ended for."""
    failed = await failure(rest(call))
    assert failed.code() is grpc.StatusCode.INVALID_ARGUMENT
    (finding,) = error_in(failed).extra["errors"]
    return str(finding["field"])


async def test_what_a_dropped_frame_shows_is_followed_from_the_next_one_on() -> None:
    async with following() as gateway:
        frames = [frame(shown(number, HERE), red=HERE) for number in range(1, 9)]
        call = await opened(gateway, config(drop_policy=pb.DROP_POLICY_LATEST), *frames)
        answers = await read(call, len(frames))
        await call.write(frame(unfollow=(4,), red=HERE))
        (last,) = await rest(call)

    assert sorted(numbers(answers[-1])) == list(range(1, 9))
    assert sorted(numbers(last)) == [1, 2, 3, 5, 6, 7, 8]


WRONG = [
    ([shown(0, HERE)], "frame.follow.0.track_id"),
    ([shown(1, HERE), shown(1, THERE)], "frame.follow.1.track_id"),
    ([pb.Follow(track_id=1)], "frame.follow.0.prompt"),
    ([pb.Follow(track_id=1, prompt=pb.Prompt(points=[pb.Point()] * 33))], "frame.follow.0.prompt.points"),
    ([pb.Follow(track_id=1, prompt=pb.Prompt(box=pb.Box(x0=3, x1=3, y1=1)))], "frame.follow.0.prompt.box"),
    ([shown(number, HERE) for number in range(1, 300)], "frame.follow"),
]


async def test_what_cannot_be_followed_ends_the_stream() -> None:
    async with following() as gateway:
        for follow, field in WRONG:
            assert await refusal(await opened(gateway, config(), frame(*follow, red=HERE))) == field
        for message in (frame(shown(1, HERE), red=HERE), frame(unfollow=(1,))):  # with the task prompt alone
            call = await opened(gateway, config("red", task=pb.TASK_SEMANTIC), message)
            assert await refusal(call) == "task"
