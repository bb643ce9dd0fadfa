"""The tools that answer in numbers: count, measure, compare."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import CallToolResult
from pydantic import Field

from lexiseg_service.adapters.mcp.asked import LOOKS, Ask, Model, Picture, Score, Words, told
from lexiseg_service.adapters.mcp.desk import Desk
from lexiseg_service.adapters.mcp.reports import areas, percent, result, table


def add(server: MCPServer[Any], desk: Desk, caller_of: Ask) -> None:
    """Adds them; `caller_of` says who asks."""

    @server.tool(annotations=LOOKS)
    async def count(
        context: Context[Any, Any], image: Picture, words: Words, threshold: Score = 0.3, model: Model = None
    ) -> CallToolResult:
        """How many objects of each word there are."""
        with told():
            fields = {"classes": words, "threshold": threshold, "model": model}
            caller = caller_of(context)
            answer = await desk.ask(await desk.picture(image, caller), fields, caller, "instance")
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
            caller, fields = caller_of(context), {"classes": words, "model": model}
            answer = await desk.ask(await desk.picture(image, caller), fields, caller, "semantic")
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
            caller = caller_of(context)
            pictures = await asyncio.gather(desk.picture(before, caller), desk.picture(after, caller))
            first, second = [await desk.ask(one, fields, caller, "semantic") for one in pictures]
            shares = [
                {word: percent(area, one.size) for word, area in areas(one, words).items()} for one in (first, second)
            ]
            changes = {
                word: {"before": was, "after": shares[1][word], "change": round(shares[1][word] - was, 3)}
                for word, was in shares[0].items()
            }
            ids = {"before": f"id:{first.image_id}", "after": f"id:{second.image_id}"}
            return result({**ids, "percent": changes})


def _extent(area: int, size: tuple[int, int], units_per_pixel: float | None) -> dict[str, float]:
    extent: dict[str, float] = {"pixels": area, "percent": percent(area, size)}
    return extent if units_per_pixel is None else {**extent, "square_units": area * units_per_pixel**2}
