"""The tools that look for things: segment, find, cut out."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult
from pydantic import Field

from lexiseg_service.adapters.mcp.asked import LOOKS, Ask, File, Model, Picture, Score, Words, told
from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.reports import cut, result, row, table
from lexiseg_service.errors import InvalidValue


def add(server: MCPServer[Any], desk: Desk, caller_of: Ask) -> None:
    """Adds them; `caller_of` says who asks."""

    @server.tool(annotations=LOOKS)
    async def segment(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.0, model: Model = None
    ) -> CallToolResult:
        """Divide a picture among words: score, area and box of each, and the picture with the masks painted on."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model, "overlay": True}
            caller = caller_of(context)
            answer = await desk.ask(await desk.picture(image, caller), fields, caller, "semantic")
            return result(table(answer), answer.overlay)

    @server.tool(annotations=LOOKS)
    async def find(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.0, model: Model = None
    ) -> CallToolResult:
        """Where things are: each object, and stuff like sky as a whole, with box, centre and score, best first."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model}
            caller = caller_of(context)
            answer = await desk.ask(await desk.picture(image, caller), fields, caller, "panoptic")
            found = table(answer)
            found["segments"].sort(key=lambda one: -one["score"])
            return result(found)

    @server.tool(annotations=LOOKS)
    async def cut_out(
        context: Context[Any, Any],
        image: File,
        word: Annotated[str | None, Field(description="what to cut out")] = None,
        point: Annotated[list[float] | None, Field(description="or x, y of a pixel on it")] = None,
        box: Annotated[list[float] | None, Field(description="or left, top, right, bottom around it")] = None,
        model: Model = None,
    ) -> CallToolResult:
        """Cut one thing out of a picture: a PNG of its box, transparent around it."""
        with told():
            picture = await desk.picture(image, caller := caller_of(context))
            if picture.content is None:
                raise InvalidValue.of("image", image, "a path or a URL: of an id there are no pixels to cut")
            fields = {"model": model, **_what(word, point, box)}
            answer = await desk.ask(picture, fields, caller, None if word is None else "panoptic")
            best = max((one for one in answer.segments if not one.mask_index), key=lambda one: one.score, default=None)
            if best is None:
                raise InvalidValue.of("word", word, "something that is in the picture")
            content = {"image": f"id:{answer.image_id}", "segment": row(best, answer.size)}
            return result(content, await asyncio.to_thread(cut, picture.content, best))


def _what(word: str | None, point: list[float] | None, box: list[float] | None) -> dict[str, Any]:
    """The one of the three that was given, as fields of a question."""
    given = [name for name, value in (("word", word), ("point", point), ("box", box)) if value is not None]
    if len(given) != 1:
        raise InvalidValue.of("word", " and ".join(given) or "none", "exactly one of word, point and box")
    if word is not None:
        return {"classes": [word]}
    if point is not None and len(point) != 2:
        raise InvalidValue.of("point", point, "x, y")
    shown = {"box": box} if point is None else {"points": [{"x": point[0], "y": point[1]}]}
    return {"prompts": [shown], "task": "prompt"}
