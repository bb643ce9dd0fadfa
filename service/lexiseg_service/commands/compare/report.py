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

from lexiseg_model.errors import DatasetError
from lexiseg_model.evaluation.comparison.agreement import NOBODY, Agreement, agreement, labeller
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
{% macro key(label) %}<span class="key" style="background:rgb{{ colour_of(label) }}"></span>{{ labels[label] }}\
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

    `labels` name the values of a map, `counts` has A's labels as the truth and B's as predicted, `maps` has the labels
    of each as PNG.
    """

    names: tuple[str, str]  # of the models, as typed
    models: list[dict[str, str]]
    labels: tuple[str, ...]
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

    @property
    def ious(self) -> list[float | None]:
        """IoU of each label, 0 to 1; None where neither model gave it."""
        hits, a, b = self.counts
        unions = (a + b - hits).tolist()
        return [hit / union if union else None for hit, union in zip(hits.tolist(), unions, strict=True)]

    def html(self, n_pictures: int) -> str:
        """The page, which shows so many photographs, the most different."""
        shares = (self.counts[1:] / self.counts[1].sum()).T.tolist()
        by_class = [
            (iou, index, *of_class)
            for index, (iou, of_class) in enumerate(zip(self.ious, shares, strict=True))
            if iou is not None
        ]
        return render(
            PAGE,
            title=" against ".join(self.names),
            share=self.share,
            models=list(zip(self.names, self.models, strict=True)),
            n_photographs=len(self.agreements),
            classes=sorted(by_class),
            unread=list(self.unread.items()),
            sections=[(each, self._figures(each.path)) for each in self.agreements[:n_pictures]],
            rest=self.agreements[n_pictures:],
            colour_of=lambda index: (128, 128, 128) if index == NOBODY else colour(index - 1),
            labels=self.labels,
        )

    def figures(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "a": self.models[0],
            "b": self.models[1],
            "agreement": round(self.share, 6),
            "iou": dict(zip(self.labels, self.ious, strict=True)),
            "photographs": [
                {
                    "photograph": str(each.path),
                    "agreement": round(each.share, 6),
                    "swaps": [
                        {"a": self.labels[swap.a], "b": self.labels[swap.b], "pixels": swap.pixels}
                        for swap in each.swaps
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
            (self.names[0], _painted(rgb, a)),
            (self.names[1], _painted(rgb, b)),
            ("different", np.where(differs[..., None], np.uint8(255), rgb // 4)),
        )
        return [(name, jpeg_url(picture)) for name, picture in pictures]


def _painted(rgb: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    palette = np.array([(0, 0, 0), *(colour(index) for index in range(int(labels.max())))], np.float32)
    mixed = rgb * (1 - OPACITY) + palette[labels] * OPACITY
    return np.where((labels > NOBODY)[..., None], mixed, rgb).round().astype(np.uint8)


def compared(names: tuple[str, str], folder: Path, vocabulary: Vocabulary, settings: Settings) -> Report:
    """Label the photographs of a folder by one model after the other.

    Raises:
        ServiceError: there are no photographs.
        ModelError: a model cannot be loaded, or none of the photographs can be read.
    """
    # As PNG, which takes a hundredth of the memory.
    maps: dict[Path, list[bytes]] = {Path(source.name): [] for source in sources_of([folder])}
    models, unread = [], dict[Path, str]()
    for name in names:
        models.append(_label_all(name, vocabulary, maps, unread, settings))
        gc.collect()
    if len(unread) == len(maps):
        raise DatasetError(f"none of the {len(unread)} photographs of {folder} can be read")
    labels = ("nobody", *(entry.name for entry in vocabulary.classes))
    counts, agreements = np.zeros((3, len(labels)), np.int64), []
    for path in maps.keys() - unread.keys():
        by_a, by_b = (_labels(png) for png in maps[path])
        counts += count(by_a, by_b, len(labels))
        agreements.append(agreement(path, by_a, by_b))
    agreements.sort(key=lambda each: (each.share, each.path))
    return Report(names, models, labels, agreements, counts, maps, unread, settings.limits)


def _label_all(
    name: str, vocabulary: Vocabulary, maps: Mapping[Path, list[bytes]], unread: dict[Path, str], settings: Settings
) -> dict[str, str]:
    """Add one model's labels of all readable photographs to `maps`; its name, version and digest."""
    segmenter = named_or_folder(settings, name)
    label = labeller(segmenter, vocabulary, segmenter.card.refine)
    values = np.append(np.arange(1, len(vocabulary.classes) + 1), NOBODY).astype(np.uint16)
    photographs = [path for path in maps if path not in unread]
    with bar_of(name, len(photographs)) as bar:
        for path in photographs:
            try:
                maps[path].append(to_png(values[label(_read(path, settings.limits))]))
            except ServiceError as error:
                unread[path] = error.detail
            bar.step()
    return {"model": segmenter.card.name, "version": segmenter.card.version, "digest": segmenter.digest}


def _read(path: Path, limits: Limits) -> NDArray[np.uint8]:
    """[H, W, 3] pixels, upright, as the service sees them.

    Raises:
        ServiceError: it cannot be read.
    """
    return decode(Source(str(path), path).read(limits), limits, None).rgb


def _labels(png: bytes) -> LabelMap:
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # written here
    return pixels.astype(np.uint16)
