"""`lexiseg video`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lexiseg_model.command_line.options import Background, Classes, Server, VocabularyName, output_file
from lexiseg_model.types import DEFAULT_SMOOTHING
from lexiseg_service.commands import options
from lexiseg_service.commands.options import check_installed, check_server, takes_settings
from lexiseg_service.settings import Settings


def _positive(seconds: float) -> float:
    if not seconds > 0:
        raise typer.BadParameter("expected more than 0")
    return seconds


Source = Annotated[str, typer.Argument(help="A file, a camera as /dev/video0, or a URL as rtsp://camera/stream")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The video with its segments painted on: .mp4, .mkv, ...; or tracks: .xml of CVAT, .json of Label Studio",
        callback=output_file,
    ),
]
Json = Annotated[
    Path | None, typer.Option(help="One line of JSON a frame; - is the standard output", callback=output_file)
]
TaskName = Annotated[
    Literal["semantic", "instance", "panoptic"] | None,
    typer.Option(help="What a segment is: a class or an object [default: semantic]"),
]
Smoothing = Annotated[
    float, typer.Option(min=0, max=0.95, help="Share of the past in the average of scores, 0 (off) to 0.95")
]
Tracking = Annotated[bool, typer.Option(help="Number objects or regions over the frames")]
Seconds = Annotated[float, typer.Option(help="Stop after so much of the video", callback=_positive)]
Drop = Annotated[
    Literal["none", "latest"] | None,
    typer.Option(help="latest drops frames that come too fast [default: latest for cameras and rtsp, else none]"),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the files of --out and --json")]

OTHERS = ", --head NAME, or objects to follow (--point, --box)"


@takes_settings("video")
def video(
    context: typer.Context,
    source: Source,
    settings: Settings,
    classes: Classes = None,
    vocabulary: VocabularyName = None,
    head: options.HeadName = None,
    points: options.Points = None,
    boxes: options.Boxes = None,
    prompts: options.Prompts = None,
    out: Out = None,
    json: Json = None,
    task: TaskName = None,
    smoothing: Smoothing = DEFAULT_SMOOTHING,
    tracking: Tracking = True,
    background: Background = None,
    threshold: options.Threshold = None,
    max_side: options.MaxSide = None,
    seconds: Seconds = float("inf"),
    drop: Drop = None,
    overwrite: Overwrite = False,
    server: Server = None,
) -> None:
    """Segment a video in this process or by a server: painted frames or tracks, lines of JSON, or both.

    Objects of --point, --box and --prompt are in the first frame; they are followed.

    Examples:

      lexiseg video clip.mp4 -c dog -c grass --out out.mp4

      lexiseg video clip.mp4 --point 120,80 --box 10,20,200,180 --out out.mp4

      lexiseg video street.mp4 --vocabulary cityscapes --no-background --json street.jsonl

      lexiseg video /dev/video0 -c person --task instance --out me.mp4 --server localhost:50051
    """
    from lexiseg_service.commands.question import question_of, read_prompts

    prompt_list = read_prompts(points or [], boxes or [], prompts or [])
    if prompt_list and task is not None:
        raise typer.BadParameter(f"following objects is a task of its own, not {task}", param_hint="'--task'")
    fields: dict[str, Any] = {"background": background, "threshold": threshold, "max_side": max_side, "head": head}
    fields["task"] = task or ("prompt" if prompt_list else "semantic")
    question = question_of(classes, vocabulary, required=not (prompt_list or head), others=OTHERS, **fields)
    _check_files(source, out, json, overwrite, tracking or bool(prompt_list))
    check_server(context, server)
    check_installed("video", "video", "av")
    from lexiseg_service.commands.local import open_server
    from lexiseg_service.commands.server import client_prompts
    from lexiseg_service.commands.video.run import FRAMES_IN_FLIGHT, run
    from lexiseg_service.commands.video.source import is_live
    from lexiseg_service.in_process import resolved

    if server is None:
        resolved(question, settings)
    config = question.fields | {"smoothing": smoothing, "tracking": tracking, "frames_in_flight": FRAMES_IN_FLIGHT}
    config["drop_policy"] = drop or ("latest" if is_live(source) else "none")
    opening = open_server(server, settings, question.task)
    raise typer.Exit(run(source, opening, config, out, json, seconds, client_prompts(prompt_list)))


def _check_files(source: str, out: Path | None, json: Path | None, overwrite: bool, has_tracks: bool) -> None:
    if out is None and json is None:
        raise typer.BadParameter("say where the result goes: --out VIDEO, --json FILE, or both", param_hint="'--out'")
    if out is not None and Path(source).exists() and out.exists() and out.samefile(source):
        raise typer.BadParameter("it would overwrite the source", param_hint="'--out'")
    if out is not None and out.suffix.lower() in (".xml", ".json") and not has_tracks:
        raise typer.BadParameter(f"{out} takes tracks, which --no-tracking switches off", param_hint="'--out'")
    for name, path in (("--out", out), ("--json", json)):
        if path is not None and path.is_file() and not overwrite:
            raise typer.BadParameter(f"{path} exists; name another file, or give --overwrite", param_hint=f"'{name}'")
