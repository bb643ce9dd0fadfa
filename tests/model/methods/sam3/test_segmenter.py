"""Scores, instances, masks of prompts and objects in a video against transformers' own classes."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from benchmarks.released import hugging_face
from benchmarks.released.hugging_face import inputs_of
from lexiseg_model import tasks
from lexiseg_model.abilities import prompts_of, regions_of
from lexiseg_model.catalogue import importing, transformers_model
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import methods
from lexiseg_model.catalogue.weights import WEIGHTS
from lexiseg_model.errors import TaskError, WeightsError
from lexiseg_model.features import Features
from lexiseg_model.masks.rle import decode
from lexiseg_model.methods.sam2.head import LEVELS
from lexiseg_model.methods.sam3.import_ import Options
from lexiseg_model.methods.sam3.segmenter import Sam3Segmenter
from lexiseg_model.segmenter import TextBank, TextRows
from lexiseg_model.testing.suite import BOX, CLICK, bank_of, blocks
from lexiseg_model.types import ClassEntry, Prompt, Region, Shown, Vocabulary
from lexiseg_model.video.following import Follower, Start
from lexiseg_model.vocabulary.scoring import score_vocabulary
from tests.model.methods.sam2.test_sam2 import BOTH
from tests.model.methods.sam3 import small

WORDS = ("red", "an old rowing boat", "blue")
CLASSES = tuple(map(ClassEntry, WORDS))


@pytest.mark.parametrize(("seed", "light"), [(0, False), (0, True), (1, True)])
def test_each_word_is_seen_as_by_the_models_own_forward_pass(seed: int, light: bool) -> None:
    assert hugging_face.sam3(seed, (60, 100), light) <= 5e-5


def test_a_word_alone_has_the_pixels_where_semantics_or_an_instance_reach_the_threshold(ours: Sam3Segmenter) -> None:
    features, classes = ours.encode(blocks()), CLASSES[:1]
    (answer,) = ours._detect(features, bank_of(ours, classes))
    probability = torch.maximum(
        answer.presence[0] * answer.semantic[0].sigmoid(),
        (answer.score[0, :, None, None] * answer.masks[0].sigmoid()).amax(0),
    )

    scores = ours.class_scores(features, bank_of(ours, classes))[0]

    torch.testing.assert_close(scores.sigmoid(), probability, atol=1e-5, rtol=1e-5)
    threshold = float(probability.median())
    background = ours.background_score(scores[None], threshold, "none")
    assert torch.equal(scores > background + 1e-4, probability > torch.sigmoid(background + 1e-4))


def test_without_transformers_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_model, "find_spec", lambda name: None)

    with pytest.raises(WeightsError, match=r"pip install 'transformers>=5\.23,<6'$"):
        importing.import_model(methods()["sam3"], "mine", Options(checkpoint=tmp_path), tmp_path)


def test_the_hubs_video_layout_adds_a_tracker_to_the_same_detector(tmp_path: Path) -> None:
    small.save_video(tmp_path / "video")
    small.save(tmp_path / "image")

    video, image = (
        importing.import_model(methods()["sam3"], name, Options(checkpoint=tmp_path / name), tmp_path / "models")
        for name in ("video", "image")
    )

    assert json.loads((tmp_path / "video" / "config.json").read_text())["model_type"] == "sam3_video"
    whole, detector = load_file(video / WEIGHTS), load_file(image / WEIGHTS)
    assert all(torch.equal(whole[name], weights) for name, weights in detector.items())
    assert {name.split(".")[0] for name in whole.keys() - detector.keys()} == {"tracker_model", "tracker_neck"}
    with_tracker, without = catalogue.read_card(video), catalogue.read_card(image)
    assert with_tracker.settings | {"tracker": None} == without.settings
    assert set(with_tracker.tasks) - set(without.tasks) == {"prompt"}


@pytest.mark.parametrize(
    ("file", "says"), [("sam3.pt", "in the layout of Meta's own code"), ("sam3.1_multiplex.pt", "SAM 3.1 has no")]
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_a_file_of_metas_own_code_names_what_to_fetch(tmp_path: Path, file: str, says: str, as_folder: bool) -> None:
    (tmp_path / file).touch()
    given = tmp_path if as_folder else tmp_path / file

    with pytest.raises(WeightsError, match=rf"{file}.*{says}.*hf download facebook/sam3 .* import FOLDER"):
        importing.import_model(methods()["sam3"], "mine", Options(checkpoint=given), tmp_path / "models")


def test_an_answer_ends_at_the_word_at_which_its_question_is_given_up(ours: Sam3Segmenter) -> None:
    features, asked, passes = ours.encode(blocks()), [], []
    hook = ours.network.model.register_forward_hook(lambda *_: passes.append(1))

    def check() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        tasks.segment("semantic", ours, features, Vocabulary(CLASSES), tasks.Options(check=check))
    hook.remove()
    assert len(passes) == 2


FRAMES = ("rgba", "gbra", "bbga", "xrxg", "rgba", "abgr", "rrgb", "bgra", "rgab", "gbra")
SEEDS = [3, 47]  # one whose object is there in every frame, one whose is not


class Published(NamedTuple):
    """The trackers for images and for videos that transformers finds in the folder of the whole."""

    image: Any
    video: Any
    processor: Any

    def pixels(self, letters: str = FRAMES[0]) -> torch.Tensor:
        pixels: torch.Tensor = self.processor(images=Image.fromarray(blocks(letters)), return_tensors="pt").pixel_values
        return pixels


def published(seed: int) -> Published:
    from transformers import (
        Sam2VideoVideoProcessor,
        Sam3ImageProcessor,
        Sam3TrackerConfig,
        Sam3TrackerModel,
        Sam3TrackerVideoConfig,
        Sam3TrackerVideoModel,
        Sam3TrackerVideoProcessor,
    )

    hub, settings = small.imported(seed).parent / "hub", small.tracker_config()
    video, told = Sam3TrackerVideoModel.from_pretrained(
        hub, config=Sam3TrackerVideoConfig(**settings), output_loading_info=True
    )
    parts = {name: settings[name] for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")}
    image = Sam3TrackerModel(Sam3TrackerConfig(**parts))
    assert not told["missing_keys"]
    assert not image.load_state_dict(video.state_dict(), strict=False).missing_keys
    size = {"height": small.SIDE, "width": small.SIDE}
    pictures, videos = Sam3ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)
    return Published(image.eval(), video.eval(), Sam3TrackerVideoProcessor(pictures, videos, small.SIDE))


@pytest.mark.parametrize("prompt", [CLICK, BOTH])
def test_a_prompt_has_the_masks_of_the_trackers_own_forward_pass(prompt: Prompt) -> None:
    theirs, ours = published(SEEDS[0]), small.segmenter(seed=SEEDS[0])
    inputs = theirs.processor(images=Image.fromarray(blocks()), **inputs_of(prompt), return_tensors="pt")
    shown = {name: value for name, value in inputs.items() if name.startswith("input_")}
    if prompt.mask is not None:
        shown["input_masks"] = torch.from_numpy(decode(prompt.mask))[None, None].float() * 20 - 10
    with torch.inference_mode():
        # The class for images adds "no memory" to a fourth map, which it then leaves out; that for videos to the third.
        maps = theirs.video.get_image_embeddings(theirs.pixels())
        expected = theirs.image(image_embeddings=maps, **shown, multimask_output=prompt.is_lone_click)

    (mine,) = prompts_of(ours).prompt(ours.encode(blocks()), [prompt])

    order = expected.iou_scores[0, 0].argsort(descending=True)
    torch.testing.assert_close(mine.quality, expected.iou_scores[0, 0][order].clamp(0, 1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.masks, expected.pred_masks[0, 0][order], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("prompt", "seed"), [*zip([BOX, CLICK], SEEDS, strict=True)])
def test_an_object_is_followed_as_by_transformers_streaming_session(prompt: Prompt, seed: int) -> None:
    theirs, ours = published(seed), small.segmenter(seed=seed)
    session, follower = theirs.processor.init_video_session(dtype=torch.float32), Follower()
    theirs.processor.process_new_points_or_boxes_for_video_frame(
        session, frame_idx=0, obj_ids=[3], original_size=(60, 100), **inputs_of(prompt)
    )

    for place, letters in enumerate(FRAMES):
        features, pixels = ours.encode(blocks(letters)), theirs.pixels(letters)
        with torch.inference_mode():
            maps = theirs.video.get_image_features(pixels).fpn_hidden_states
            expected = theirs.video(session, frame=pixels[0])
        for name, level in zip(LEVELS, maps, strict=True):
            own = features.tensors[name]
            torch.testing.assert_close(own, level[:, 0].T.reshape(own.shape), atol=1e-4, rtol=1e-4)
            # Random weights magnify roundings from frame to frame, so both follow over the same maps.
            features.tensors[name] = level[:, 0].T.reshape(own.shape)
        (sight,) = follower.step(ours, features, [] if place else [Start(3, prompt)])

        assert (sight.mask is not None) == bool(expected.object_score_logits > 0 or not place)
        if sight.mask is not None:
            torch.testing.assert_close(sight.mask.masks, expected.pred_masks[0], atol=1e-4, rtol=1e-4)
            score = expected.object_score_logits.sigmoid().view(1)
            torch.testing.assert_close(sight.mask.quality, score, atol=1e-5, rtol=1e-5)


def test_a_mask_has_the_mean_probability_of_each_class_in_it() -> None:
    ours = small.segmenter()
    features, classes = ours.encode(blocks()), (ClassEntry("red"), ClassEntry("blue"))
    bank = bank_of(ours, classes)
    probability = ours.class_scores(features, bank).sigmoid()
    half = torch.full((1, *probability.shape[1:]), -30.0)
    half[:, :, : half.shape[2] // 2] = 30

    scores = regions_of(ours).region_scores(features, regions_of(ours).embed_masks(features, half), bank)

    expected = probability[:, :, : half.shape[2] // 2].flatten(1).mean(1)
    torch.testing.assert_close(scores[:, 0].sigmoid(), expected, atol=1e-5, rtol=1e-4)
    answer = tasks.segment("prompt", ours, features, Vocabulary(classes, None), tasks.Options(prompts=(BOX,)))
    assert {segment.label for segment in answer.segments} <= {"red", "blue"}


Box = tuple[float, float, float, float]
HERE: Box = (2, 3, 40.5, 25)
THERE: Box = (60, 30, 80, 55)
NONE = np.empty((0, 0), np.float16)


@pytest.fixture(scope="module")
def ours() -> Sam3Segmenter:
    return small.segmenter()


@pytest.fixture(scope="module")
def features(ours: Sam3Segmenter) -> Features:
    return ours.encode(blocks())


def rows(ours: Sam3Segmenter, features: Features, *boxes: Box) -> TextRows:
    return ours.example_rows(features, [Region(Prompt(box=box)) for box in boxes])


@pytest.mark.parametrize("word", [None, "an old boat"])
def test_boxes_and_a_word_are_seen_as_by_the_models_own_forward_pass(
    word: str | None, ours: Sam3Segmenter, features: Features, tmp_path: Path
) -> None:
    from transformers import Sam3Model, Sam3Processor

    small.save(tmp_path)
    model, processor = Sam3Model.from_pretrained(tmp_path).eval(), Sam3Processor.from_pretrained(tmp_path)
    inputs = processor(
        images=Image.fromarray(blocks()),
        text=word,
        input_boxes=[[list(HERE), list(THERE)]],
        input_boxes_labels=[[1, 0]],
        return_tensors="pt",
    )
    # Eager: torchvision has torch compile what its own library would do, for longer than all the rest takes.
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        theirs = model(**inputs)

    made = ours.example_vectors(rows(ours, features, HERE), rows(ours, features, THERE))
    words = [] if word is None else [torch.from_numpy(ours.encode_texts([word])).float()]
    vectors = torch.cat([*words, made.vectors])
    mine, *again = ours._detect(features, TextBank(vectors, np.zeros(len(vectors), np.int64), 1, has_examples=True))

    assert all(other is mine for other in again)

    own = theirs.pred_logits.sigmoid() * theirs.presence_logits.sigmoid()
    torch.testing.assert_close(mine.score, own, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.masks, theirs.pred_masks, atol=5e-4, rtol=1e-4)
    torch.testing.assert_close(mine.semantic, theirs.semantic_seg[:, 0], atol=1e-4, rtol=1e-4)


def test_examples_from_another_image_are_refused(ours: Sam3Segmenter, features: Features) -> None:
    shown = Shown(tuple(row.tobytes() for row in rows(ours, features, HERE)))
    other, mascot = ours.encode(blocks("gbra")), ClassEntry("cat", shown=shown, named=False)

    with pytest.raises(TaskError, match="by example only in the image"):
        score_vocabulary(ours, other, Vocabulary((mascot,), None), ours.encode_texts)
    with pytest.raises(TaskError, match="by example only in the image"):
        ours.example_vectors(
            np.concatenate([rows(ours, of, HERE) for of in (features, other)]).astype(np.float16), NONE
        )
