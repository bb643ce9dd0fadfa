"""The tools: segment, find, cut out, count, measure, compare."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import Field

from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.reports import areas, cut, percent, result, row, table
from lexiseg_service.errors import InvalidValue, ServiceError
from lexiseg_service.gateway.use_case import Caller

INSTRUCTIONS = (
    "Masks for words in pictures. Answers carry `image`, an id that asks again about the same picture at once. "
    "Words compete for pixels: name what else is in the picture, too. What is not there stands in `absent`."
)
LOOKS = ToolAnnotations(read_only_hint=True, idempotent_hint=True)
Picture = Annotated[str, Field(description="a file's path, an https URL, or `id:...` of an earlier answer")]
File = Annotated[str, Field(description="a file's path or an https URL")]
Words = Annotated[list[str], Field(min_length=1, description="what to look for, one word or phrase each")]
Model = Annotated[str | None, Field(description="NAME or NAME@VERSION of list_models; default: the first")]
Score = Annotated[float, Field(ge=0, le=1, description="least score of what is told")]
Ask = Callable[[Context[Any, Any]], Caller]


@contextmanager
def told() -> Iterator[None]:
    """What is wrong with a request, in words for whoever sent it."""
    try:
        yield
    except ServiceError as error:
        raise ToolError(error.detail) from None


def create(desk: Desk, caller_of: Ask) -> MCPServer[Any]:
    """A server of the tools; `caller_of` says who asks."""
    server: MCPServer[Any] = MCPServer("lexiseg", instructions=INSTRUCTIONS, version=version("lexiseg"))

    @server.tool(annotations=LOOKS)
    async def list_models(context: Context[Any, Any]) -> CallToolResult:
        """The models that can be asked, and what each can do."""
        cards = desk.use_case.models()
        return result({"models": [{name: card[name] for name in ("name", "summary", "tasks")} for card in cards]})

    @server.tool(annotations=LOOKS)
    async def segment(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.0, model: Model = None
    ) -> CallToolResult:
        """Divide a picture among words: score, area and box of each, and the picture with the masks painted on."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model, "overlay": True}
            answer = await desk.ask(await desk.picture(image), fields, caller_of(context), "semantic")
            return result(table(answer), answer.overlay)

    @server.tool(annotations=LOOKS)
    async def find(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.0, model: Model = None
    ) -> CallToolResult:
        """Where things are: each object, and stuff like sky as a whole, with box, centre and score, best first."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model}
            answer = await desk.ask(await desk.picture(image), fields, caller_of(context), "panoptic")
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
            picture = await desk.picture(image)
            if picture.content is None:
                raise InvalidValue.of("image", image, "a path or a URL: of an id there are no pixels to cut")
            fields = {"model": model, **_what(word, point, box)}
            answer = await desk.ask(picture, fields, caller_of(context), None if word is None else "panoptic")
            best = max((one for one in answer.segments if not one.mask_index), key=lambda one: one.score, default=None)
            if best is None:
                raise InvalidValue.of("word", word, "something that is in the picture")
            content = {"image": f"id:{answer.image_id}", "segment": row(best, answer.size)}
            return result(content, await asyncio.to_thread(cut, picture.content, best))

    @server.tool(annotations=LOOKS)
    async def count(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.3, model: Model = None
    ) -> CallToolResult:
        """How many objects of each word there are."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model}
            answer = await desk.ask(await desk.picture(image), fields, caller_of(context), "instance")
            counted = Counter(one.label for one in answer.segments)
            return result({**table(answer), "counts": {word: counted[word] for word in words}})

    @server.tool(annotations=LOOKS)
    async def measure(
        context: Context[Any, Any],
        image: Picture,
        words: Words,
        units_per_pixel: Annotated[float | None, Field(gt=0, description="length of a pixel's side")] = None,
        unit: Annotated[str, Field(description="of that length, as `cm`")] = "",
        model: Model = None,
    ) -> CallToolResult:
        """How much of a picture each word takes: pixels, percent, and square units where a pixel's length is given."""
        with told():
            answer = await desk.ask(
                await desk.picture(image), {"classes": words, "model": model}, caller_of(context), "semantic"
            )
            measured = {
                word: _extent(area, answer.size, units_per_pixel) for word, area in areas(answer, words).items()
            }
            return result({"image": f"id:{answer.image_id}", "unit": unit and f"{unit}²", "measured": measured})

    @server.tool(annotations=LOOKS)
    async def compare(
        context: Context[Any, Any], before: Picture, after: Picture, words: Words, model: Model = None
    ) -> CallToolResult:
        """What changed between two pictures: the percent of each that every word takes, and the difference."""
        with told():
            fields = {"classes": words, "model": model}
            pictures = await asyncio.gather(desk.picture(before), desk.picture(after))
            first, second = [await desk.ask(one, fields, caller_of(context), "semantic") for one in pictures]
            shares = [
                {word: percent(area, one.size) for word, area in areas(one, words).items()} for one in (first, second)
            ]
            changes = {
                word: {"before": was, "after": shares[1][word], "change": round(shares[1][word] - was, 3)}
                for word, was in shares[0].items()
            }
            ids = {"before": f"id:{first.image_id}", "after": f"id:{second.image_id}"}
            return result({**ids, "percent": changes})

    return server


def _what(word: str | None, point: list[float] | None, box: list[float] | None) -> dict[str, Any]:
    """The one of the three that was given, as fields of a question."""
    ways = {"word": word, "point": point, "box": box}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise InvalidValue.of("word", " and ".join(given) or "none", "exactly one of word, point and box")
    if word is not None:
        return {"classes": [word]}
    if point is not None and len(point) != 2:
        raise InvalidValue.of("point", point, "x, y")
    shown = {"box": box} if point is None else {"points": [{"x": point[0], "y": point[1]}]}
    return {"prompts": [shown], "task": "prompt"}


def _extent(area: int, size: tuple[int, int], units_per_pixel: float | None) -> dict[str, float]:
    extent: dict[str, float] = {"pixels": area, "percent": percent(area, size)}
    return extent if units_per_pixel is None else {**extent, "square_units": area * units_per_pixel**2}
