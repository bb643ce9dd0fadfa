"""Workers share rows of examples through Redis, separately for each API key."""

import asyncio
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_model.features import Features
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.segmenter import TextRows
from lexiseg_model.types import ClassEntry, Point, Prompt, Region, Vocabulary
from lexiseg_service.question.backend import Exemplified
from lexiseg_service.question.messages import ExampleRegion, WorkerRequest
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from tests import pictures
from tests.model.stand_in import ColourSegmenter
from tests.model.video.moving import box, scene
from tests.redis_server import RedisServer
from tests.service.engine_backend import EngineBackend
from tests.waiting import SOON

HERE = (4, 4)
PICTURE = pictures.encoded(Image.fromarray(scene(red=HERE)))


class Looking(ColourSegmenter):
    """Counts the regions that it looks at, one of them to see how long a row is."""

    def __init__(self) -> None:
        super().__init__()
        self.n_looked_at = 0

    def example_rows(self, features: Features, regions: Sequence[Region]) -> TextRows:
        self.n_looked_at += len(regions)
        return super().example_rows(features, regions)


class Worker:
    """An engine with the rows of a Redis."""

    def __init__(self, url: str) -> None:
        self.segmenter = Looking()
        settings = Settings(redis_url=url, deadline_seconds=SOON)
        self.backend = EngineBackend(self.segmenter, Metrics(), settings=settings)

    async def look(self, owner: str, image: bytes = PICTURE, *regions: Region, keep: bool = False) -> Exemplified:
        shown = tuple(
            ExampleRegion(region, f"classes.0.examples.{index}")
            for index, region in enumerate(regions or [Region(Prompt(box=box(HERE)))])
        )
        words = Vocabulary((ClassEntry("mascot"),))
        asked = WorkerRequest(
            image,
            words,
            model="colours",
            deadline=time.monotonic() + SOON,
            owner=owner,
            regions=shown,
            keep_picture=keep,
        )
        return await asyncio.wait_for(self.backend.exemplify(asked), SOON)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    server = RedisServer(tmp_path)
    made = [Worker(server.url), Worker(server.url)]
    yield made
    for worker in made:
        worker.backend.engine.close(SOON)
    server.kill()


async def test_what_one_worker_has_looked_at_another_finds(workers: list[Worker]) -> None:
    one, other = workers
    await other.look("theirs")  # the first rows of a process are its own: they show how long rows are
    before = other.segmenter.n_looked_at
    first = await one.look("mine")
    second = await other.look("mine")

    assert other.segmenter.n_looked_at == before
    assert second == first
    assert np.isfinite(np.frombuffer(first.rows[0], np.float16)).all()


async def test_rows_of_one_key_are_no_other_keys(workers: list[Worker]) -> None:
    one, other = workers
    await one.look("mine")
    await other.look("theirs")

    assert other.segmenter.n_looked_at == one.segmenter.n_looked_at


async def test_a_kept_picture_is_smaller_and_its_regions_with_it(workers: list[Worker]) -> None:
    large = np.zeros((1200, 1600, 3), np.uint8)
    large[300:900, 400:800] = 255
    regions = Region(Prompt((Point(600, 600),), (400, 300, 800, 900))), Region(mask=encode_mask(large[..., 0] > 0))

    kept = await workers[0].look("mine", pictures.encoded(Image.fromarray(large)), *regions, keep=True)

    shape = np.asarray(Image.open(io.BytesIO(kept.picture))).shape
    assert shape == (512, 683, 3)
    scale = shape[0] / 1200
    prompt, mask = kept.regions[0].prompt, kept.regions[1].mask
    assert prompt is not None
    assert mask is not None
    assert prompt.box == pytest.approx([side * scale for side in (400, 300, 800, 900)], abs=0.5)
    assert (prompt.points[0].x, prompt.points[0].y) == pytest.approx((600 * scale, 600 * scale), abs=0.5)
    assert mask.size == shape[:2]
    assert mask.area == pytest.approx(large[..., 0].astype(bool).sum() * scale**2, rel=0.02)
