"""Training examples of `tiny`: a crop or a whole photograph, its class questions, and which classes it shows.

Objects of other photographs are cut out by their masks and pasted onto crops: Ghiasi et al., "Simple Copy-Paste is a
Strong Data Augmentation Method for Instance Segmentation" (arXiv 2012.07177); worth most where labels are few.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from lexiseg_model.methods.tiny.network import STRIDE
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.drawn.questions import (
    LabelSpace,
    Question,
    Source,
    background_concepts,
    full_question,
    random_question,
)
from lexiseg_train.methods.tiny.losses import BatchQuestions, ImageQuestions, stack
from lexiseg_train.methods.tiny.sources import OBJECT
from lexiseg_train.methods.tiny.texts import TextTable
from lexiseg_train.methods.tiny.trainings import TinyRecipe
from lexiseg_train.training.crops import (
    MIRRORED,
    Matrix,
    Paste,
    View,
    Views,
    labels_in,
    random_colours,
    stack_views,
    whole_view,
    window_view,
)
from lexiseg_train.training.stream import Stream

MAX_PASTED = 2  # objects on one crop
CANDIDATES = 8  # objects of which the one most like the crop's is pasted
MAX_RIVALS = 6  # concepts like a photograph's one object that are asked for with it, and absent
PRESENT, ABSENT, UNKNOWN = 1, 0, -1  # states of a class in a crop
MIN_CUT_SHARE = 0.01  # of a photograph; smaller objects are not cut out
PASTED_SIDES = (0.3, 0.95)  # range of an object's longer side, as a share of the crop's
MAX_ENLARGED = 2.0  # more would show the pixels
PASTE_MARGIN = 0.1  # of the crop, on each side: no pasted object's middle is there
CLASS_FIRST = 0.5  # share of crops with a class that is drawn before the photograph
FAVOURED_SHARE = 0.5  # of the examples of a source that has favoured photographs
VISIBLE_SHARE = 0.003  # of the crop; a class with fewer pixels counts neither as present nor as absent
MAX_FOREIGN_ABSENT = 6  # concepts of other sets that are asked for as absent in a photograph with a mask
MAX_NAMES_ABSENT = 48  # concepts that are asked for as absent in a photograph with only names
MAX_LIKENESS = 0.55  # cosine below which two names can hardly both fit one object


class Candidate(NamedTuple):
    """An object that may be cut out: index of the source, its mask value, photograph and concept."""

    source: int
    value: int
    photograph: int
    concept: int


class CutObject(NamedTuple):
    source: int  # index of the source
    photograph: int  # index in the source's pack
    concept: int
    inside: NDArray[np.uint8]  # [H, W] of the photograph: 255 on the object, 0 elsewhere
    box: tuple[int, int, int, int]  # left, top, width, height


class Batch(NamedTuple):
    views: Views
    questions: BatchQuestions


def to_crop(cut: CutObject, size: int, random: np.random.Generator) -> Matrix:
    """Draw the affine map [2, 3] from pixels of the object's photograph to the crop's; half of them mirror."""
    left, top, width, height = cut.box
    length = size * float(np.exp(random.uniform(*np.log(PASTED_SIDES))))
    scale = min(length / max(width, height), MAX_ENLARGED)
    across = -scale if random.random() < MIRRORED else scale
    middle_x, middle_y = random.uniform(PASTE_MARGIN * size, (1 - PASTE_MARGIN) * size, 2)
    return np.array(
        [[across, 0, middle_x - across * (left + width / 2)], [0, scale, middle_y - scale * (top + height / 2)]]
    )


class Examples(Stream[Batch]):
    def __init__(
        self, sources: list[Source], table: TextTable, recipe: TinyRecipe, size: int, batch: int, same_meaning: float
    ) -> None:
        self.sources, self.table, self.recipe, self.same_meaning = sources, table, recipe, same_meaning
        self.size, self.batch, self.seed = size, batch, recipe.seed

    def make(self, number: int, random: np.random.Generator) -> Batch:
        cv2.setNumThreads(1)  # workers share the cores
        shares = np.array([source.share for source in self.sources])
        places = random.choice(len(self.sources), self.batch, p=shares / shares.sum())
        examples = [self._example(int(which), random) for which in places]
        return Batch(stack_views([view for view, _ in examples]), stack([questions for _, questions in examples]))

    def _example(self, which: int, random: np.random.Generator) -> tuple[View, ImageQuestions]:
        source = self.sources[which]
        pack = source.pack
        if source.favoured and random.random() < FAVOURED_SHARE:
            index = int(random.choice(source.favoured))
        elif source.holders and random.random() < CLASS_FIRST:
            _, index = source.draw_class_first(random)
        else:
            index = int(random.choice(source.eligible))
        *place, masked = pack.places[index].tolist()
        mask = pack.mask(index)
        whole = not masked or random.random() < self.recipe.whole
        if whole:
            matrix = whole_view(mask.shape[0], mask.shape[1], self.size, random)
        else:
            matrix = window_view(mask, self.size, random, self.recipe.zoom)
        labels = labels_in(mask, matrix, self.size, STRIDE)
        crop = View(which, place, matrix, random_colours(random))
        if not masked:
            return crop, self._named(source, index, labels.size, random)
        present = np.array([self.table.index[name] for name in pack.present[index]], np.int64)
        space = source.space
        if space is None:
            rivals = random.permutation(self.table.rivals(present))[: random.integers(1, MAX_RIVALS + 1)]
            space = LabelSpace.of_object(int(present[0]), rivals)
        if pack.name in self.recipe.paste_onto and random.random() < self.recipe.paste:
            pasted_objects = self._pasted(np.union1d(present, space.present(labels)), random)
            for cut in pasted_objects:
                space = space.with_pasted(cut.concept)
            pastes = [self._paste(cut, space.value(cut.concept), labels, random) for cut in pasted_objects]
            crop = crop._replace(pastes=pastes)
            present = np.union1d(present, np.array([cut.concept for cut in pasted_objects], np.int64))
        return crop, self._masked(source, space, labels, present, whole, random)

    def _pasted(self, present: NDArray[np.int64], random: np.random.Generator) -> list[CutObject]:
        candidates = [
            self.rival(present, random) if random.random() < self.recipe.rivals else self._candidate(random)
            for _ in range(random.integers(1, MAX_PASTED + 1))
        ]
        cuts = [self._cut_out(each, random) for each in candidates if each is not None]
        return [cut for cut in cuts if cut is not None]

    def _candidate(self, random: np.random.Generator) -> Candidate | None:
        """A random object, its class drawn first; None: no source has any."""
        origins = [place for place, each in enumerate(self.sources) if each.pack.name in self.recipe.paste_from]
        origins = [place for place in origins if self.sources[place].holders or self.sources[place].objects]
        if not origins:
            return None
        shares = np.array([self.sources[place].share for place in origins])
        place = origins[int(random.choice(len(origins), p=shares / shares.sum()))]
        source = self.sources[place]
        if source.space is None:
            photograph = int(random.choice(source.objects))
            return Candidate(place, OBJECT, photograph, self.table.index[source.pack.present[photograph][0]])
        value, photograph = source.draw_class_first(random)
        return Candidate(place, value, photograph, int(source.space.concepts[value - int(source.space.has_background)]))

    def rival(self, present: NDArray[np.int64], random: np.random.Generator) -> Candidate | None:
        """Of some random objects the one with a name most like the `present` concepts', and surely none of them."""
        table, candidates = self.table, [self._candidate(random) for _ in range(CANDIDATES)]
        others = [each for each in candidates if each is not None and table.exclusive[present, each.concept].all()]
        return max(others, key=lambda each: table.likeness[present, each.concept].max(initial=-1), default=None)

    def _cut_out(self, choice: Candidate, random: np.random.Generator) -> CutObject | None:
        """Cut out an object; None where its photograph has none of the class that is large enough."""
        place, mask_value, photograph, concept = choice
        mask = self.sources[place].pack.mask(photograph)
        n_parts, parts, stats, _ = cv2.connectedComponentsWithStats((mask == mask_value).astype(np.uint8))
        large = [part for part in range(1, n_parts) if stats[part, cv2.CC_STAT_AREA] >= MIN_CUT_SHARE * mask.size]
        if not large:
            return None
        part = int(random.choice(large))
        left, top, width, height = (int(stats[part, column]) for column in range(4))
        inside = np.where(parts == part, np.uint8(255), np.uint8(0))
        return CutObject(place, photograph, concept, inside, (left, top, width, height))

    def _paste(self, cut: CutObject, value: int, labels: NDArray[np.uint8], random: np.random.Generator) -> Paste:
        """Paste an object onto a crop, and write its mask value into the crop's labels [size/4, size/4], in place."""
        size, matrix = self.size, to_crop(cut, self.size, random)
        alpha = cv2.warpAffine(cut.inside, matrix, (size, size), flags=cv2.INTER_LINEAR).astype(np.uint8)
        # Inverted, 0 on the object: `labels_in` fills what lies beyond the photograph with 255.
        labels[labels_in(255 - cut.inside, matrix, size, STRIDE) == 0] = value
        photograph = self.sources[cut.source].pack.places[cut.photograph, :3].tolist()
        return Paste(cut.source, photograph, matrix, alpha)

    def _masked(
        self,
        source: Source,
        space: LabelSpace,
        labels: NDArray[np.uint8],
        present: NDArray[np.int64],
        whole: bool,
        random: np.random.Generator,
    ) -> ImageQuestions:
        """Questions about a photograph with a mask: classes without a pixel in the crop, and not listed, are absent."""
        table = self.table
        alone = source.space is None  # its words are this photograph's
        background = background_concepts(table, space.concepts, self.same_meaning) if alone else source.background
        full = full_question(labels, space, background, table, random)
        part = random_question(labels, space, table, self.same_meaning, random)
        shift = int(space.has_background)
        area = np.bincount(labels.reshape(-1), minlength=256)[shift : shift + len(space.concepts)] / labels.size
        states = np.where(area >= VISIBLE_SHARE, PRESENT, np.where(area == 0, ABSENT, UNKNOWN)).astype(np.int8)
        listed = np.isin(space.concepts, present)
        states[listed & (states == ABSENT)] = PRESENT if whole else UNKNOWN
        others = np.setdiff1d(present, space.concepts) if whole else present[:0]
        all_present = np.concatenate([space.concepts[area > 0], present])
        foreign = rare_concepts(table, all_present, space.concepts, random)
        if alone:
            foreign = np.union1d(foreign, np.setdiff1d(absent_names(source, table, present, random), space.concepts))
        presence = full.classes + [table.draw(int(concept), random) for concept in (*others, *foreign)]
        more = np.array([PRESENT] * len(others) + [ABSENT] * len(foreign), np.int8)
        return ImageQuestions(full, part, presence, np.concatenate([states, more]))

    def _named(self, source: Source, index: int, n_pixels: int, random: np.random.Generator) -> ImageQuestions:
        """Questions about a photograph without a mask: only which names are present and absent."""
        table, pack = self.table, source.pack
        present = np.array([table.index[name] for name in pack.present[index]], np.int64)
        absent = absent_names(source, table, present, random)
        rows = [table.draw(int(concept), random) for concept in (*present, *absent)]
        states = np.array([PRESENT] * len(present) + [ABSENT] * len(absent), np.int8)
        unlabelled = Question([], [], True, np.full(n_pixels, IGNORE, np.int64), None, None)
        return ImageQuestions(unlabelled, unlabelled, rows, states)


def rare_concepts(
    table: TextTable, present: NDArray[np.int64], listed: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """A few concepts that are not listed, and surely not in a picture of the present ones."""
    rare = np.setdiff1d(np.flatnonzero(table.rare), listed)
    if len(present):
        rare = rare[table.exclusive[np.ix_(present, rare)].all(0)]
    return np.asarray(random.permutation(rare)[:MAX_FOREIGN_ABSENT], np.int64)


def absent_names(
    source: Source, table: TextTable, present: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Concepts that a photograph without a mask does not show."""
    if source.pack.complete:
        return np.setdiff1d(source.named, present)
    unlike = (table.likeness[present] < MAX_LIKENESS).all(0) & table.exclusive[present].all(0)
    return np.asarray(random.permutation(np.flatnonzero(unlike & table.objects))[:MAX_NAMES_ABSENT], np.int64)
