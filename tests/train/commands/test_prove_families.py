"""`lexiseg models prove` on small checkpoints in the authors' layouts, its figure computed by a second program.

Weights are random. The truth is what the second program answers, moved to the side: classes are right in part.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.clip import dino
from lexiseg_model.clip.text_side import template_set
from lexiseg_model.clip.towers import configuration
from lexiseg_model.internal import region_refinement_of
from lexiseg_model.segmenter import words_of
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.data.benchmark import benchmark
from lexiseg_train.evaluation.benchmarks.protocol import protocol, questions
from tests.falcon import small as falcon
from tests.model.clip import small as clip
from tests.model.methods.dense_clip import small as dense_clip
from tests.model.methods.sam3 import small as sam3
from tests.model.methods.tcl import test_checkpoint as tcl
from tests.model.methods.tipsv2 import released as tips
from tests.model.methods.tipsv2 import small as tipsv2
from tests.model.methods.unpair_seg import small as unpair_seg
from tests.pictures import photograph
from tests.service.commands.command_line import CommandLine
from tests.train.data.trees import write_map

Labels = NDArray[np.int64]
Rgb = NDArray[np.uint8]
NAMES = benchmark("voc20").classes
MINI = tcl.MINI
COLOURS = ((122.771, 116.746, 104.094), (68.501, 66.632, 70.323))  # of SCLIP's released code
OFFERED = 448  # pixels: no protocol here resizes it, or else by half-pixel centres as torch does


def picture(side: int) -> Rgb:
    return np.array(photograph("astronaut").resize((side, side)), np.uint8)


def enlarged(maps: Tensor, side: int) -> Tensor:
    """[C, h, w] -> [C, side, side]."""
    return F.interpolate(maps[None], (side, side), mode="bilinear")[0]


def class_vectors(texts_of: Callable[[list[str]], Tensor], templates: str, entries: list[list[str]]) -> Tensor:
    """Unit rows [T, D]: of each text, the mean over its templates of unit rows."""
    patterns = template_set(templates)
    rows = [texts_of([pattern.format(text) for pattern in patterns]) for texts in entries for text in texts]
    rows = [each.half().float() for each in rows]  # as texts are kept
    return torch.stack([F.normalize(F.normalize(each, dim=1).mean(0), dim=0) for each in rows])


def sclip_texts() -> tuple[list[list[str]], Labels]:
    queries = protocol("sclip").rule("voc20").queries
    entries = [queries.get(name, [name]) for name in NAMES]
    return entries, np.repeat(np.arange(len(entries)), [len(each) for each in entries])


def save_clip(folder: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True})
    state = {name: value + 0.05 * torch.randn_like(value) for name, value in model.state_dict().items()}
    save_file(state, folder / "clip.safetensors")


def sclip_of_open_clip(folder: Path, rgb: Rgb) -> Labels:
    """SCLIP's released code over open_clip's modules: windows of 224 every 112, texts compete."""
    from safetensors.torch import load_file

    model = open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True}).eval()
    model.load_state_dict(load_file(folder / "clip.safetensors"))
    visual: Any = model.visual
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    entries, owner = sclip_texts()
    vectors = class_vectors(lambda texts: model.encode_text(tokenizer(texts)), "imagenet80", entries)
    mean, std = (torch.tensor(row)[:, None, None] for row in COLOURS)
    image = (torch.from_numpy(rgb).permute(2, 0, 1).float() - mean) / std
    grid, side = 14, len(rgb)
    positions = visual.positional_embedding
    square = positions[1:].T.reshape(1, -1, 4, 4)
    square = F.interpolate(square, (grid, grid), mode="bicubic")[0].flatten(1).T
    total, count = torch.zeros(len(owner), side, side), torch.zeros(side, side)
    for top in range(0, side - 224 + 1, 112):
        for left in range(0, side - 224 + 1, 112):
            window = image[None, :, top : top + 224, left : left + 224]
            tokens = visual.conv1(window).flatten(2).transpose(1, 2)
            tokens = torch.cat([visual.class_embedding[None, None], tokens], 1)
            tokens = visual.ln_pre(tokens + torch.cat([positions[:1], square]))
            *blocks, last = visual.transformer.resblocks
            for block in blocks:
                tokens = block(tokens)
            tokens = tokens + correlative(last.attn, last.ln_1(tokens))
            tokens = tokens + last.mlp(last.ln_2(tokens))
            patches = F.normalize(visual.ln_post(tokens[0, 1:]) @ visual.proj, dim=1)
            total[:, top : top + 224, left : left + 224] += enlarged((vectors @ patches.T).reshape(-1, grid, grid), 224)
            count[top : top + 224, left : left + 224] += 1
    labels: Labels = owner[np.asarray((total / count).argmax(0))]
    return labels


def correlative(attention: Any, tokens: Tensor) -> Tensor:
    """Correlative self-attention, a head at a time."""
    query, key, value = F.linear(tokens[0], attention.in_proj_weight, attention.in_proj_bias).chunk(3, 1)
    width = attention.head_dim
    heads = []
    for start in range(0, query.shape[1], width):
        q, k, v = (each[:, start : start + width] for each in (query, key, value))
        weights = (q @ q.T / width**0.5).softmax(1) + (k @ k.T / width**0.5).softmax(1)
        heads.append(weights @ v)
    mixed: Tensor = attention.out_proj(torch.cat(heads, 1))
    return mixed[None]


def tipsv2_of_transformers(folder: Path, rgb: Rgb) -> Labels:
    from transformers import Tipsv2ImageProcessor, Tipsv2Model, Tipsv2Processor

    size = {"height": len(rgb), "width": len(rgb)}
    inputs = Tipsv2ImageProcessor.from_pretrained(folder, size=size)(images=rgb, return_tensors="pt")
    model = Tipsv2Model.from_pretrained(folder, attn_implementation="eager").eval()
    model.vision_model.encoder.layer[-1].register_forward_pre_hook(  # MaskCLIP's trick: each token sees itself
        lambda _, entering: (entering[0], torch.full([entering[0].shape[1]] * 2, -torch.inf).fill_diagonal_(0))
    )
    patches = F.normalize(model.vision_model(**inputs).last_hidden_state[0, 2:], dim=1)
    processor = Tipsv2Processor.from_pretrained(folder)

    def texts_of(texts: list[str]) -> Tensor:
        tokens = processor(text=texts, return_tensors="pt", padding=True)
        rows: Tensor = model.get_text_features(**tokens).pooler_output
        return rows

    vectors = class_vectors(texts_of, "tcl9", [[name] for name in NAMES])
    cells = len(rgb) // 14
    return enlarged((vectors @ patches.T).reshape(-1, cells, cells), len(rgb)).argmax(0).numpy()


def tips_of_formulas(folder: Path, rgb: Rgb) -> Labels:
    images, texts = (
        {name: torch.from_numpy(value).double() for name, value in np.load(next(folder.glob(kind))).items()}
        for kind in ("*_vision.npz", "*_text.npz")
    )
    tokenizer = tipsv2.tokenizer()

    def texts_of(plain: list[str]) -> Tensor:
        return torch.stack([tips.row(texts, ids) for ids in tokenizer(plain)["input_ids"]])

    vectors = class_vectors(texts_of, "tcl9", [[name] for name in NAMES])
    cosines = torch.einsum("td,dhw->thw", vectors, tips.patches(images, rgb).float())
    return enlarged(cosines, len(rgb)).argmax(0).numpy()


def sam3_of_transformers(folder: Path, rgb: Rgb) -> Labels:
    from transformers import Sam3Model, Sam3Processor

    model, processor = Sam3Model.from_pretrained(folder).eval(), Sam3Processor.from_pretrained(folder)
    maps = []
    for name in NAMES:
        out = model(**processor(images=Image.fromarray(rgb), text=name, return_tensors="pt"))
        presence = out.presence_logits.sigmoid().reshape(())
        score = out.pred_logits[0].sigmoid() * presence
        instances = (score[:, None, None] * out.pred_masks[0].sigmoid()).amax(0)
        maps.append(torch.maximum(presence * out.semantic_seg[0, 0].sigmoid(), instances))
    return enlarged(torch.stack(maps).clamp(1e-6, 1 - 1e-6).logit(), len(rgb)).argmax(0).numpy()


@dataclass(frozen=True)
class ByInterface:
    """What the imported model says of its classes; a pixel is of the best. Its forward pass is checked elsewhere."""

    protocol: str
    refine: str

    def __call__(self, folder: Path, rgb: Rgb) -> Labels:
        rule = protocol(self.protocol).rule("voc20")
        (place,) = (folder / "second").iterdir()
        model = catalogue.load_folder(place, "cpu", card=rule.applied_to(catalogue.read_card(place)))
        entries, owner = questions(benchmark("voc20"), rule)
        words = words_of(model)
        bank = words.text_bank(entries, KnownRows(model)(words.texts(entries)))
        features = model.encode(rgb)
        refined = model.refined_scores(features, bank) if self.refine == "pamr" else None
        scores = enlarged(words.class_scores(features, bank) if refined is None else refined, len(rgb))
        if self.refine == "regions":
            logits = scores * (rule.scale or model.probability_scale)
            best = torch.stack([logits[owner == label].amax(0) for label in range(len(NAMES))])
            voted = region_refinement_of(model).by_regions(features, best, logits.logsumexp(0), best.argmax(0))
            return enlarged(voted, len(rgb)).argmax(0).numpy()
        labels: Labels = owner[scores.argmax(0).numpy()]
        return labels


@dataclass(frozen=True)
class Family:
    """A model of the list, the files of a small one, and how a second program labels a picture."""

    name: str
    save: Callable[[Path], object]
    options: tuple[str, ...]  # of `models import`; {} is the folder
    labels: Callable[[Path, Rgb], Labels]
    side: int = OFFERED
    protocol: str = "tcl"


def save_sam3(folder: Path) -> None:
    """It knows the classes' words: unknown ones are all the same, and rounding would choose between them."""
    sam3.save(folder, words=[*dict.fromkeys(word for name in NAMES for word in name.split())])


def save_tcl(folder: Path) -> None:
    tcl.saved(folder, "clip.pt")


def save_dino(folder: Path) -> None:
    save_file(dense_clip.dino().vit.state_dict(), folder / "dino.safetensors")
    save_file(dict(clip.state()), folder / "clip.safetensors")


def save_trident(folder: Path) -> None:
    save_dino(folder)
    dense_clip.sam_model().save_pretrained(folder / "sam")


def save_unpair_seg(folder: Path) -> None:
    state = dict(unpair_seg.state())
    for name, value in state.items():  # random masks are sharp and thought well of, or else cleaning leaves none
        if "mask_embed" in name and "layers.2" in name:
            state[name] = value * 300
        elif "iou_embed" in name and name.endswith("layers.2.bias"):
            state[name] = value + 5
    torch.save({"model": state}, folder / "stage1.pth")


SMALL_CLIP = ("--clip", "{}/clip.safetensors", "--architecture", clip.ARCHITECTURE, "--activation", "gelu")
FAMILIES = [
    Family(
        "dense-clip",
        save_clip,
        ("--policy", "sclip", "--clip", "{}/clip.safetensors", "--architecture", MINI, "--activation", "quickgelu"),
        sclip_of_open_clip,
        336,
        "sclip",
    ),
    Family("tipsv2-b14", tipsv2.save, ("--checkpoint", "{}"), tipsv2_of_transformers),
    Family("tips-s14", tips.save, ("--checkpoint", "{}"), tips_of_formulas),
    Family("sam3", save_sam3, ("--checkpoint", "{}"), sam3_of_transformers),
    Family("falcon-perception", falcon.save, ("--checkpoint", "{}"), ByInterface("tcl", "none"), 256),
    Family(
        "tcl",
        save_tcl,
        ("--checkpoint", "{}/tcl.pth", "--clip", "{}/clip.pt", "--architecture", MINI),
        ByInterface("tcl", "pamr"),
    ),
    Family(
        "trident-b16",
        save_trident,
        ("--policy", "trident", "--proxy", "{}/dino.safetensors", "--sam", "{}/sam", *SMALL_CLIP),
        ByInterface("trident", "regions"),
        protocol="trident",
    ),
    Family(
        "corrclip-b16",
        save_dino,
        ("--policy", "corrclip", "--proxy", "{}/dino.safetensors", "--proposals", "tiny", *SMALL_CLIP),
        ByInterface("corrclip", "regions"),
        protocol="corrclip",
    ),
    Family(
        "unpair-seg",
        save_unpair_seg,
        ("--checkpoint", "{}/stage1.pth", "--architecture", unpair_seg.ARCHITECTURE),
        ByInterface("unpair-seg", "none"),
        protocol="unpair-seg",
    ),
]


@pytest.fixture(autouse=True)
def small_towers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """open_clip knows the small towers, and DINO's published names are a small one's."""
    clip.register()
    unpair_seg.register()
    kind = dino.plain_kind(patch=clip.PATCH // 2, side=clip.PRETRAINED_SIDE, width=64, depth=2)
    for name in ("dino_vitb8", "dino_vitb16"):
        monkeypatch.setitem(dino.KINDS, name, kind)
    torch.manual_seed(0)
    with torch.inference_mode(False):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_figure_is_that_of_a_second_program(lexiseg: CommandLine, family: Family, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    family.save(files)
    options = tuple(option.format(files) for option in family.options)
    if isinstance(family.labels, ByInterface):
        method = catalogue.read_card(catalogue.bundled()[available_method(family.name)]).name
        into = ("--models-dir", files / "second", f"{family.name}-again")
        assert lexiseg("models", "import", "--method", method, *options, *into).status == 0
    rgb = picture(family.side)
    with torch.no_grad():
        theirs = family.labels(files, rgb)
    truth = np.roll(theirs, family.side // 3, 1)
    root = write_voc(tmp_path / "data", rgb, truth)

    outcome = lexiseg(
        *("models", "prove", family.name, "--dataset", "voc20", "--root", root, "--out", tmp_path / "proofs.jsonl"),
        *("--progress", tmp_path / "progress", "--models-dir", tmp_path / "models", *options),
    )

    assert outcome.status == 0, outcome.err
    line = json.loads((tmp_path / "proofs.jsonl").read_text())
    expected = mean_iou(theirs, truth)
    assert len(np.unique(theirs)) >= 2
    assert 0 < expected < 100
    assert line["miou"] == pytest.approx(expected, abs=0.05)
    assert f"{family.name} on voc20, protocol {family.protocol}" in outcome.out
    assert f": mIoU {line['miou']:.2f} on 1 pictures; " in outcome.out


def available_method(name: str) -> str:
    """The bundled model whose method runs a model of the list."""
    from lexiseg_model.catalogue.available import available
    from lexiseg_model.catalogue.method import methods

    return methods()[available()[name].method].model_name


def write_voc(folder: Path, rgb: Rgb, labels: Labels) -> Path:
    """VOCdevkit/VOC2012 with one picture; classes are counted from 1 in its files."""
    base = folder / "VOCdevkit" / "VOC2012"
    for place in ("JPEGImages", "ImageSets/Segmentation"):
        (base / place).mkdir(parents=True)
    Image.fromarray(rgb).save(base / "JPEGImages" / "one.jpg", format="PNG")  # without loss: both programs read it
    write_map(base / "SegmentationClass" / "one.png", (labels + 1).astype(np.uint8), palette=True)
    (base / "ImageSets" / "Segmentation" / "val.txt").write_text("one\n")
    return folder


def mean_iou(labels: Labels, truth: Labels) -> float:
    """Percent; mean over the classes that either has."""
    shares = [
        ((labels == name) & (truth == name)).sum() / ((labels == name) | (truth == name)).sum()
        for name in np.union1d(labels, truth)
    ]
    return 100 * float(np.mean(shares))
