"""`lexiseg compare`: one model after the other over all photographs, then the differences of their labels.

A over all photographs -> its maps as PNG -> B likewise -> agreement of each pair -> figures, small pictures
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.evaluation.comparison.agreement import NOBODY, Agreement, agreement, label_all
from lexiseg_model.evaluation.counts import Counts, count
from lexiseg_model.masks.overlay import OPACITY, colour
from lexiseg_model.masks.png import to_png
from lexiseg_model.types import LabelMap, Vocabulary
from lexiseg_service.commands.bar import bar_of
from lexiseg_service.commands.image_files import Source, sources_of
from lexiseg_service.commands.in_process import named_or_folder
from lexiseg_service.commands.pages import jpeg_url, render
from lexiseg_service.errors import ServiceError
from lexiseg_service.settings import Limits, Settings
from lexiseg_service.worker.decode import decode

MAX_WIDTH = 420  # pixels of a picture
PAGE = """\
{% extends "layout" %}
{% macro key(label) %}<span class="key" style="background:rgb{{ colour_of(label) }}"></span>{{ name_of(label) }}\
{% endmacro %}
{% block body %}
<h1>{{ "%.2f%%" % (100 * share) }} agreement</h1>
<p>{% for name, model in models %}{% if not loop.first %} against {% endif %}{{ name }} <span class="quiet">(\
{{ model.model }} {{ model.version }}, {{ model.digest[:12] }})</span>{% endfor %}, pixel by pixel on \
{{ n_photographs }} photographs.</p>
<table>
<tr><th>class<th>IoU of A and B<th>pixels of A<th>pixels of B
{% for iou, label, a, b in classes %}
<tr><td>{{ key(label) }}<td>{{ "%.1f%%" % (100 * iou) }}<td>{{ "%.2f%%" % (100 * a) }}<td>{{ "%.2f%%" % (100 * b) }}
{% endfor %}
</table>
{% if unread %}<p>Not read:</p><ul>{% for path, reason in unread %}<li>{{ path }}: {{ reason }}{% endfor %}</ul>\
{% endif %}
{% for each, figures in sections %}
<section><h2>{{ "%.2f%%" % (100 * each.share) }} {{ each.path }}</h2>
{% for name, url in figures %}
<figure><img alt="{{ name }}" src="{{ url }}"><figcaption>{{ name }}</figcaption></figure>
{% endfor %}
<p class="quiet">{% for swap in each.swaps %}{{ key(swap.a) }} → {{ key(swap.b) }} \
{{ "%.1f%%" % (100 * swap.pixels / each.pixels) }}{% if not loop.last %}, {% endif %}{% endfor %}</p>
</section>
{% endfor %}
{% if rest %}
<section><table><tr><th>photograph<th>agreement
{% for each in rest %}<tr><td>{{ each.path }}<td>{{ "%.2f%%" % (100 * each.share) }}
{% endfor %}</table></section>
{% endif %}
{% endblock %}
"""


@dataclass(frozen=True)
class Report:
    """The labels of two models on the same photographs; `agreements` begin with the smallest.

    `counts` has A's labels as the truth and B's as predicted, `maps` has the labels of each as PNG.
    """

    a: str
    b: str
    models: list[dict[str, str]]
    classes: tuple[str, ...]
    agreements: list[Agreement]
    counts: Counts
    maps: Mapping[Path, Sequence[bytes]]
    unread: dict[Path, str]
    limits: Limits

    @property
    def share(self) -> float:
        """The share of all pixels with one label."""
        pixels = sum(each.pixels for each in self.agreements)
        return sum(each.share * each.pixels for each in self.agreements) / pixels

    def iou(self, index: int) -> float | None:
        """IoU of a label, 0 to 1; None where neither model gave it."""
        hits, truth, predicted = self.counts[:, index]
        union = truth + predicted - hits
        return float(hits / union) if union else None

    def label(self, index: int) -> str:
        """The name of a value of a map."""
        return "nobody" if index == NOBODY else self.classes[index - 1]

    def html(self, n_pictures: int) -> str:
        """The page, which shows so many photographs, the most different."""
        total = int(self.counts[1].sum())
        by_class = [
            (iou, index, *(self.counts[1:, index] / total))
            for index in range(len(self.classes) + 1)
            if (iou := self.iou(index)) is not None
        ]
        return render(
            PAGE,
            title=f"{self.a} against {self.b}",
            share=self.share,
            models=list(zip((self.a, self.b), self.models, strict=True)),
            n_photographs=len(self.agreements),
            classes=sorted(by_class),
            unread=list(self.unread.items()),
            sections=[(each, self._figures(each.path)) for each in self.agreements[:n_pictures]],
            rest=self.agreements[n_pictures:],
            colour_of=lambda label: (128, 128, 128) if label == NOBODY else colour(label - 1),
            name_of=self.label,
        )

    def figures(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "a": self.models[0],
            "b": self.models[1],
            "agreement": round(self.share, 6),
            "iou": {self.label(index): self.iou(index) for index in range(len(self.classes) + 1)},
            "photographs": [
                {
                    "photograph": str(each.path),
                    "agreement": round(each.share, 6),
                    "swaps": [
                        {"a": self.label(swap.a), "b": self.label(swap.b), "pixels": swap.pixels} for swap in each.swaps
                    ],
                }
                for each in self.agreements
            ],
            "unread": {str(path): reason for path, reason in self.unread.items()},
        }

    def _figures(self, path: Path) -> list[tuple[str, str]]:
        a, b = (_labels(png) for png in self.maps[path])
        height, width = a.shape
        size = (width, height) if width <= MAX_WIDTH else (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
        rgb = cv2.resize(_read(path, self.limits), size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        # A difference of one pixel must not vanish in the small picture.
        differs = cv2.resize((a != b).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        a, b = (cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint16) for labels in (a, b))
        pictures = (
            ("photograph", rgb),
            (self.a, _painted(rgb, a)),
            (self.b, _painted(rgb, b)),
            ("different", np.where(differs[..., None], np.uint8(255), rgb // 4)),
        )
        return [(name, jpeg_url(picture)) for name, picture in pictures]


def _painted(rgb: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    palette = np.array([(0, 0, 0), *(colour(index) for index in range(int(labels.max())))], np.float32)
    mixed = rgb * (1 - OPACITY) + palette[labels] * OPACITY
    return np.where((labels > NOBODY)[..., None], mixed, rgb).round().astype(np.uint8)


def compared(a: str, b: str, folder: Path, vocabulary: Vocabulary, settings: Settings) -> Report:
    """Label the photographs of a folder by one model after the other.

    Raises:
        ServiceError: there are no photographs.
        ModelError: a model cannot be loaded, or none of the photographs can be read.
    """
    photographs = [Path(source.name) for source in sources_of([folder])]
    names = tuple(entry.name for entry in vocabulary.classes)
    maps: dict[Path, list[bytes]] = {path: [] for path in photographs}  # as PNG: a hundredth of their size
    models, unread = [], dict[Path, str]()
    for name in (a, b):
        models.append(_over_all(name, photographs, vocabulary, maps, unread, settings))
        photographs = [path for path in photographs if path not in unread]
    if not photographs:
        raise DatasetError(f"none of the {len(unread)} photographs of {folder} can be read")
    counts, agreements = np.zeros((3, len(names) + 1), np.int64), []
    for path in photographs:
        by_a, by_b = (_labels(png) for png in maps[path])
        counts += count(by_a, by_b, len(names) + 1)
        agreements.append(agreement(path, by_a, by_b))
    agreements.sort(key=lambda each: each.share)
    return Report(a, b, models, names, agreements, counts, maps, unread, settings.limits)


def _over_all(
    name: str,
    photographs: list[Path],
    vocabulary: Vocabulary,
    maps: Mapping[Path, list[bytes]],
    unread: dict[Path, str],
    settings: Settings,
) -> dict[str, str]:
    """Add one model's labels of all photographs to `maps`, and free it; its name, version and digest."""

    def read(path: Path) -> NDArray[np.uint8]:
        return _read(path, settings.limits)

    def keep(path: Path, labels: LabelMap) -> None:
        maps[path].append(to_png(labels))

    segmenter = named_or_folder(settings, name)
    with bar_of(name, len(photographs)) as bar:
        unread |= label_all(segmenter, photographs, vocabulary, read, keep, bar.step)
    model = {"model": segmenter.card.name, "version": segmenter.card.version, "digest": segmenter.digest}
    del segmenter
    gc.collect()
    return model


def _read(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """[H, W, 3] pixels, upright, as the service sees them.

    Raises:
        SampleError: it cannot be read.
    """
    try:
        return decode(Source(str(path), path).read(limits), limits, None).rgb
    except ServiceError as error:
        raise SampleError(str(path), error.detail) from None


def _labels(png: bytes) -> LabelMap:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # written here
    return pixels.astype(np.uint16)
