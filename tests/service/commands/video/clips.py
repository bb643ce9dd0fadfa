"""Short video files, made on the spot."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from tests import pictures
from tests.model.stand_in import picture


def written(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    rate: int = 10,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    **options: str,
) -> Path:
    """A clip of frames [H, W, 3] of one size; `options` of its container."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = pixels
        stream.bit_rate = 2_000_000
        for index, rgb in enumerate(frames):
            if index == 0:
                stream.height, stream.width = rgb.shape[:2]
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def motion_jpeg(path: Path, orientation: int, sizes: Sequence[tuple[int, int]] = ((64, 48),) * 3) -> Path:
    """Red on the left, blue on the right as stored; frames [W, H], each a JPEG with EXIF as of cameras."""
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    whole = Image.fromarray(picture(["r" * 32 + "b" * 32] * 48))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.time_base = Fraction(1, 10)
        for index, size in enumerate(sizes):
            packet = av.Packet(pictures.encoded(whole.resize(size), "JPEG", exif=exif))
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            container.mux(packet)
    return path


def two_tracks(path: Path) -> Path:
    """A track of 32 x 32, and the one that players show, of 64 x 48."""
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for track, (width, height) in zip(tracks, [(32, 32), (64, 48)], strict=True):
            track.width, track.height, track.pix_fmt = width, height, "yuv420p"
        tracks[0].disposition, tracks[1].disposition = Disposition(0), Disposition.default
        for index in range(3):
            for track in tracks:
                frame = av.VideoFrame(track.width, track.height, "yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                container.mux(track.encode(frame))
        for track in tracks:
            container.mux(track.encode(None))
    return path


def panning(path: Path, n_frames: int = 6) -> Path:
    """A camera that turns over a temple by a lake, 320 x 240."""
    whole = np.asarray(pictures.photograph("china"))
    return written(path, (np.ascontiguousarray(whole[100:340, x : x + 320]) for x in range(0, 4 * n_frames, 4)))


def halves(path: Path, n_frames: int = 6) -> Path:
    """Red on the left, blue on the right, 64 x 48."""
    return written(path, [np.asarray(picture(["r" * 32 + "b" * 32] * 48))] * n_frames)


def read(path: Path) -> list[NDArray[np.uint8]]:
    """All frames of a clip."""
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]
