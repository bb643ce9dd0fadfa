"""EdgeTAM, whose checkpoints are read as those of SAM 2.1, against transformers' own classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lexiseg_model import catalogue
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue.method import methods
from lexiseg_model.methods.sam2.import_ import Options
from lexiseg_model.methods.sam2.segmenter import Sam2Segmenter
from lexiseg_model.types import Prompt
from lexiseg_model.video.following import Follower, Start
from tests.model.conformance.asking import BOX, CLICK, blocks, seen
from tests.model.methods.sam2 import small
from tests.model.methods.sam2.test_sam2 import FRAMES, inputs_of

# Of torch's compiler, which torchvision imports where its own library does not load.
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")


@pytest.mark.parametrize(("seed", "prompt"), [(0, CLICK), (1, BOX)])
def test_an_object_is_cut_out_and_followed_as_by_transformers(seed: int, prompt: Prompt, tmp_path: Path) -> None:
    from transformers import EdgeTamVideoModel, Sam2VideoProcessor

    small.save(tmp_path / "hub", seed, edge=True)
    importing.import_model(methods()["sam2"], "edge", Options(checkpoint=tmp_path / "hub"), tmp_path)
    ours = catalogue.load("edge", models_dir=tmp_path, device="cpu", precision="exact")
    assert isinstance(ours, Sam2Segmenter)
    model = EdgeTamVideoModel.from_pretrained(tmp_path / "hub").eval()
    processor = Sam2VideoProcessor.from_pretrained(tmp_path / "hub")
    session, follower = processor.init_video_session(dtype=torch.float32), Follower()

    for place, letters in enumerate(FRAMES):
        inputs = processor(images=Image.fromarray(blocks(letters)), return_tensors="pt")
        if not place:
            processor.process_new_points_or_boxes_for_video_frame(
                session, frame_idx=0, obj_ids=[3], original_size=(60, 100), **inputs_of(prompt)
            )
        with torch.inference_mode():
            theirs = model(session, frame=inputs["pixel_values"][0])
        (sight,) = follower.step(ours, seen(ours, blocks(letters)), [] if place else [Start(3, prompt)])

        assert (sight.mask is not None) == bool(theirs.object_score_logits > 0 or not place)
        if sight.mask is not None:
            torch.testing.assert_close(sight.mask.masks, theirs.pred_masks[0], atol=5e-4, rtol=1e-4)
