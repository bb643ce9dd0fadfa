/* What reviewed pictures teach: a picture's lesson (`lexiseg_model.methods.tiny.teaching`), and the head of some lessons
 * (`lexiseg_model.vocabulary.solving`, which names the numbers). */
#include "kernel.h"
#include <math.h>

enum { VOTES = 4, UNKNOWN = -1 }; /* labels across a cell, which is of the class that has most of them; not looked at */
#define MOST_TEXT 100.0f          /* logits by words are kept up to here */

typedef struct {
    int32_t *cells; /* [h * w], the label of each, or UNKNOWN */
    int64_t *count, *best, *at; /* [labels] cells that have it; the most votes in a cell, and the first cell with these */
} Grid;

/* The number of a half float, which is finite. */
static float of_half(uint16_t bits) {
    union {
        uint32_t bits;
        float number;
    } both = {(uint32_t)(bits & 0x7fff) << 13};
    float number = both.number * 0x1p112f; /* the exponents' zeros differ by so much */
    return bits >> 15 ? -number : number;
}

/* The labels of pixels across a cell. */
static void vote(const int16_t *labels, int64_t height, int64_t width, int64_t h, int64_t w, int64_t cell,
                 int16_t votes[VOTES * VOTES]) {
    for (int64_t v = 0; v < VOTES * VOTES; v++) {
        int64_t y = cell / w * VOTES + v / VOTES, x = cell % w * VOTES + v % VOTES;
        y = (2 * y + 1) * height / (2 * VOTES * h), x = (2 * x + 1) * width / (2 * VOTES * w);
        votes[v] = labels[y * width + x];
    }
}

/* The label of each cell: of most of its pixels, else UNKNOWN. A label without a cell gets its best one. */
static void label_cells(const int16_t *labels, int64_t height, int64_t width, int64_t h, int64_t w, int64_t n_labels,
                        Grid *grid) {
    for (int64_t cell = 0; cell < h * w; cell++) {
        int16_t votes[VOTES * VOTES];
        vote(labels, height, width, h, w, cell, votes);
        grid->cells[cell] = UNKNOWN;
        for (int64_t v = 0; v < VOTES * VOTES; v++) {
            int64_t count = 0, label = votes[v];
            if (label < 0) continue;
            for (int64_t other = 0; other < VOTES * VOTES; other++) count += votes[other] == label;
            if (count > grid->best[label]) grid->best[label] = count, grid->at[label] = cell;
            if (count > VOTES * VOTES / 2) grid->cells[cell] = (int32_t)label;
        }
    }
    for (int64_t label = 0; label < n_labels; label++)
        if (grid->best[label] && grid->best[label] <= VOTES * VOTES / 2) grid->cells[grid->at[label]] = (int32_t)label;
    for (int64_t cell = 0; cell < h * w; cell++)
        if (grid->cells[cell] >= 0) grid->count[grid->cells[cell]]++;
}

/* A number that no other place has, by chance (MurmurHash3's last step). */
static uint32_t lot(uint32_t place) {
    place = (place ^ place >> 16) * 0x85ebca6bu;
    place = (place ^ place >> 13) * 0xc2b2ae35u;
    return place ^ place >> 16;
}

/* The places of up to `quota` cells of a label, those with the lowest lots, in order; returns how many. */
static int64_t draw(const Grid *grid, int64_t cells, int64_t label, int64_t quota, int64_t *places) {
    uint64_t low = 0, high = UINT64_C(1) << 32; /* of the lots that are taken: below `high`, found by halving */
    int64_t n = 0;
    while (grid->count[label] > quota && low + 1 < high) {
        uint64_t middle = (low + high) / 2;
        int64_t below = 0;
        for (int64_t cell = 0; cell < cells; cell++)
            below += grid->cells[cell] == label && lot((uint32_t)cell) < middle;
        *(below > quota ? &high : &low) = middle;
    }
    if (grid->count[label] > quota) high = low;
    for (int64_t cell = 0; cell < cells; cell++)
        if (grid->cells[cell] == label && lot((uint32_t)cell) < high) places[n++] = cell;
    return n;
}

/* Places of up to `most` labelled cells, as many of each label as there are, the rarest first, and the share of each in
 * all; returns how many. */
static int64_t sample(Grid *grid, int64_t cells, int64_t n_labels, int64_t most, int64_t *places, float *shares) {
    int64_t known = 0, left = 0, n = 0;
    for (int64_t label = 0; label < n_labels; label++) known += grid->count[label], left += grid->count[label] > 0;
    for (; left; left--) {
        int64_t rarest = -1;
        for (int64_t label = 0; label < n_labels; label++)
            if (grid->count[label] && (rarest < 0 || grid->count[label] < grid->count[rarest])) rarest = label;
        int64_t taken = draw(grid, cells, rarest, (most - n) / left, places + n);
        for (int64_t i = 0; i < taken; i++)
            shares[n + i] = (float)((double)grid->count[rarest] / (double)taken / (double)known);
        grid->count[rarest] = 0;
        n += taken;
    }
    return n;
}

/* Where a cell of n lies among m coarse ones, half cells at the border: the lower of two, and the share of the next. */
static float between(int64_t place, int64_t n, int64_t m, int64_t *low) {
    float at = ((float)place + 0.5f) * ((float)m / (float)n) - 0.5f;
    if (at < 0) at = 0;
    *low = (int64_t)at;
    return at - (float)*low;
}

/* A cell's teaching features: `fine` channels of maps [fine, h, w], `coarse` ones of [coarse, rows, columns], and 1. */
static void features(const uint16_t *decoded, int64_t fine, int64_t h, int64_t w, const uint16_t *middle, int64_t coarse,
                     int64_t rows, int64_t columns, int64_t cell, float *row) {
    int64_t y, x;
    float down = between(cell / w, h, rows, &y), across = between(cell % w, w, columns, &x);
    int64_t below = y + 1 < rows ? columns : 0, right = x + 1 < columns;
    for (int64_t c = 0; c < fine; c++) row[c] = of_half(decoded[c * h * w + cell]);
    for (int64_t c = 0; c < coarse; c++) {
        const uint16_t *at = middle + (c * rows + y) * columns + x;
        float upper = (1 - across) * of_half(at[0]) + across * of_half(at[right]);
        float lower = (1 - across) * of_half(at[below]) + across * of_half(at[below + right]);
        row[fine + c] = (1 - down) * upper + down * lower;
    }
    row[fine + coarse] = 1;
}

/* What a picture teaches: returns the number of cells, at most `most`.
 *
 * labels [height, width] of 0..k, or UNKNOWN; maps of half floats `decoded` [fine, h, w] and `middle` [coarse, rows,
 * columns]; scores [k + 1, h, w] by words, the last what they must exceed. Out, room for `most` of each: labels, shares,
 * features [fine + coarse + 1], logits [k] by words, and how many pixels across a cell have each label [k + 1]. */
API int64_t lexiseg_lesson(const int16_t *labels, int64_t height, int64_t width, int64_t k, const uint16_t *decoded,
                           int64_t fine, int64_t h, int64_t w, const uint16_t *middle, int64_t coarse, int64_t rows,
                           int64_t columns, const float *scores, int64_t most, int16_t *of_cells, float *shares,
                           float *cells, float *text, uint8_t *pixels) {
    int64_t f = fine + coarse + 1, n_labels = k + 1;
    int64_t *places = calloc((size_t)(most + 3 * n_labels), sizeof(int64_t));
    Grid grid = {malloc((size_t)(h * w) * sizeof(int32_t)), places + most, places + most + n_labels,
                 places + most + 2 * n_labels};
    int64_t n = OUT_OF_MEMORY;
    if (places && grid.cells) {
        label_cells(labels, height, width, h, w, n_labels, &grid);
        n = sample(&grid, h * w, n_labels, most, places, shares);
    }
    for (int64_t i = 0; i < n; i++) {
        int16_t votes[VOTES * VOTES];
        vote(labels, height, width, h, w, places[i], votes);
        memset(pixels + i * n_labels, 0, (size_t)n_labels);
        for (int64_t v = 0; v < VOTES * VOTES; v++)
            if (votes[v] >= 0) pixels[i * n_labels + votes[v]]++;
        of_cells[i] = (int16_t)grid.cells[places[i]];
        features(decoded, fine, h, w, middle, coarse, rows, columns, places[i], cells + i * f);
        for (int64_t c = 0; c < k; c++) {
            float logit = scores[c * h * w + places[i]] - scores[k * h * w + places[i]];
            text[i * k + c] = logit > MOST_TEXT ? MOST_TEXT : logit > -MOST_TEXT ? logit : -MOST_TEXT;
        }
    }
    free(places);
    free(grid.cells);
    return n;
}

#define NEARBY_GAIN 0.1 /* of the IoU in like pictures, without which a class keeps its words */
#define UNFOUND 0.005   /* IoU by words below which there is nothing to keep in other pictures */

/* The constants of `solving` that come in `numbers`, in order. */
enum { SCALE, MAX_TEXT, STRENGTH, WORDS_PICTURES, FOLDS, SURE_GAIN, LIKENESS, DETAIL, EVERYDAY, NEARBY };

typedef struct {
    const uint16_t *cells, *text; /* half floats [n, f], and lesson by lesson [cells, classes] */
    const int16_t *labels;        /* [n], of the lesson's classes; their number: none of them */
    const uint8_t *pixels;        /* lesson by lesson [cells, classes + 1]: how many of a cell have each label */
    const float *shares;          /* [n] */
    const int64_t *sizes;         /* [lessons, 2]: cells and classes */
    const int32_t *places;        /* of the lessons' classes in the head, UNKNOWN: not in it */
    int64_t lessons, n, f, detail, k, folds; /* the first `detail` features do not say which lessons are alike */
    int64_t everyday;                        /* lessons, the last ones, that are never left out and not measured */
    int32_t *fold_of, *group_of; /* [lessons] */
} Kept;

typedef struct {
    float *features, *text, *directions; /* [n, f], [n, k], [3 + folds, k, f] */
    int32_t *labels, *fold, *shown;      /* [n], [n], [3 + folds, k] */
    uint8_t *pixels;                     /* [n, k + 1] */
    double *factors;                     /* [k] */
} Gathered;

/* The mean [f] of each lesson's cells into `means`, and the square of their spread after it: [lessons, f + 1]. */
static void describe(const Kept *of, const float *features, double *means) {
    int64_t f = of->f;
    for (int64_t lesson = 0, i = 0; lesson < of->lessons; lesson++) {
        double *mean = means + lesson * (f + 1), total = 0;
        for (int64_t end = i + of->sizes[2 * lesson]; i < end; i++) {
            total += of->shares[i];
            for (int64_t j = of->detail; j < f; j++) {
                double value = features[i * f + j];
                mean[j] += of->shares[i] * value, mean[f] += of->shares[i] * value * value;
            }
        }
        for (int64_t j = 0; j <= f; j++) mean[j] /= total;
        for (int64_t j = 0; j < f; j++) mean[f] -= mean[j] * mean[j];
    }
}

static double apart(const double *one, const double *other, int64_t f) {
    double sum = 0;
    for (int64_t at = 0; at < f; at++) sum += (one[at] - other[at]) * (one[at] - other[at]);
    return sum;
}

/* The group of each reviewed lesson: like pictures, as neighbours of a strip, are in one. */
static void group_like(const Kept *of, const double *means, double likeness) {
    int64_t f = of->f, groups = 0, reviewed = of->lessons - of->everyday;
    int32_t *group_of = of->group_of;
    for (int64_t i = 0; i < reviewed; i++) group_of[i] = (int32_t)i;
    for (int64_t i = 0; i < reviewed; i++)
        for (int64_t j = 0; j < i; j++) {
            const double *one = means + i * (f + 1), *other = means + j * (f + 1);
            if (apart(one, other, f) > likeness * (one[f] + other[f]) / 2) continue;
            int32_t from = group_of[i] > group_of[j] ? group_of[i] : group_of[j], to = group_of[i] + group_of[j] - from;
            for (int64_t at = 0; at <= i; at++)
                if (group_of[at] == from) group_of[at] = to;
        }
    for (int64_t i = 0; i < reviewed; i++) /* the first of a group has its own number */
        group_of[i] = group_of[i] == i ? (int32_t)groups++ : group_of[group_of[i]];
}

/* The fold of each lesson, by group or each of its own, and their number, at most `folds`. */
static int64_t fold(const Kept *of, int by_group, int64_t folds) {
    int64_t reviewed = of->lessons - of->everyday, groups = 0;
    for (int64_t i = 0; i < reviewed; i++) {
        int32_t group = by_group ? of->group_of[i] : (int32_t)i;
        of->fold_of[i] = (int32_t)(group % folds);
        if (group >= groups) groups = group + 1;
    }
    if (groups > folds) groups = folds;
    for (int64_t i = reviewed; i < of->lessons; i++) of->fold_of[i] = (int32_t)groups;
    return groups;
}

/* Where like pictures show a class: the mean of those of its largest group [f - detail], and a squared radius around it. Zeros
 * if no two of them do. */
static int place_of(const Kept *of, const int32_t *labels, double *means, double likeness, int64_t class, float *place) {
    double *mean = means + of->lessons * (of->f + 1), members = 0, radius = 0;
    int64_t f = of->f, reviewed = of->lessons - of->everyday, width = f - of->detail, most = 1, best = -1;
    for (int64_t group = 0; group < reviewed; group++) {
        int64_t count = 0;
        for (int64_t lesson = 0, begin = 0; lesson < reviewed; begin += of->sizes[2 * lesson++]) {
            int64_t i = begin, end = begin + of->sizes[2 * lesson];
            while (of->group_of[lesson] == group && i < end && labels[i] != class) i++;
            count += of->group_of[lesson] == group && i < end;
        }
        if (count > most) most = count, best = group;
    }
    if (best < 0) return 0;
    memset(mean, 0, (size_t)(f + 1) * sizeof(double));
    for (int64_t lesson = 0; lesson < reviewed; lesson++) {
        members += of->group_of[lesson] == best;
        for (int64_t at = 0; at <= f && of->group_of[lesson] == best; at++) mean[at] += means[lesson * (f + 1) + at];
    }
    for (int64_t at = 0; at <= f; at++) mean[at] /= members;
    for (int64_t lesson = 0; lesson < reviewed; lesson++)
        if (of->group_of[lesson] == best) radius = fmax(radius, apart(means + lesson * (f + 1), mean, f));
    for (int64_t at = 0; at < width; at++) place[at] = (float)mean[of->detail + at];
    place[width] = (float)fmax(radius, likeness * mean[f]);
    return 1;
}

/* The cells of all lessons, with labels and logits of the head's classes: `solving._gathered`. */
static void gather(const Kept *of, Gathered *to) {
    const uint16_t *text = of->text;
    const uint8_t *pixels = of->pixels;
    const int32_t *places = of->places;
    int64_t begin = 0, labels = of->k + 1;
    for (int64_t i = 0; i < of->n * of->k; i++) to->text[i] = NAN; /* not looked for */
    for (int64_t lesson = 0; lesson < of->lessons; lesson++) {
        int64_t cells = of->sizes[2 * lesson], classes = of->sizes[2 * lesson + 1], own = of->fold_of[lesson];
        for (int64_t i = begin; i < begin + cells; i++) {
            to->labels[i] = of->labels[i] < classes ? places[of->labels[i]] : (int32_t)of->k;
            to->fold[i] = (int32_t)own;
            to->pixels[i * labels + of->k] = pixels[(i - begin) * (classes + 1) + classes];
            for (int64_t c = 0; c < classes; c++) {
                if (places[c] < 0) continue;
                to->text[i * of->k + places[c]] = of_half(text[(i - begin) * classes + c]);
                to->pixels[i * labels + places[c]] = pixels[(i - begin) * (classes + 1) + c];
            }
        }
        for (int64_t class = 0; class < of->k; class++) {
            int64_t i = begin;
            while (i < begin + cells && to->labels[i] != class) i++;
            for (int64_t part = 0; i < begin + cells && part < of->folds + 3; part++)
                to->shown[part * of->k + class] += !leaves_out(part, own, of->folds);
        }
        begin += cells, text += cells * classes, pixels += cells * (classes + 1), places += classes;
    }
}

/* 1 + the label that all reviewed cells of the head's classes have; 0: there are several. */
static int64_t only_label(const int32_t *labels, const int32_t *fold, int64_t folds, int64_t n, int64_t k) {
    int64_t only = -1;
    for (int64_t i = 0; i < n; i++) {
        if (labels[i] < 0 || labels[i] == only || fold[i] == folds) continue;
        if (only >= 0) return 0;
        only = labels[i];
    }
    return 1 + (only < 0 ? k : only);
}

/* What a head learns, as of `lexiseg_head`. */
typedef struct {
    float *directions, *of_words;
    double *iou;
    int32_t *wants;
} Learned;

/* Learn of lessons in folds. Returns as `lexiseg_head`. */
static int64_t learn(const Kept *of, Gathered *to, const float *shares, const double *numbers, const int32_t *stop,
                     const Learned *learned) {
    int64_t k = of->k, parts = 3 + of->folds, only;
    memset(to->shown, 0, (size_t)(parts * k) * sizeof(int32_t));
    memset(to->pixels, 0, (size_t)(of->n * (k + 1)));
    memset(to->directions, 0, (size_t)(parts * k * of->f) * sizeof(float));
    gather(of, to);
    for (int64_t c = 0; c < k; c++) to->factors[c] = 1 / (1 + to->shown[c] / numbers[WORDS_PICTURES]);
    if ((only = only_label(to->labels, to->fold, of->folds, of->n, k))) return only;
    only = lexiseg_teach(to->features, to->labels, to->pixels, shares, to->text, to->fold, of->n, of->f, k, of->folds, to->shown,
                         to->factors, numbers[STRENGTH] / (double)(of->lessons - of->everyday), numbers[SCALE],
                         numbers[MAX_TEXT], numbers[SURE_GAIN], to->directions, learned->of_words, learned->iou,
                         learned->wants, stop);
    memcpy(learned->directions, to->directions, (size_t)(k * of->f) * sizeof(float));
    return only;
}

/* A class that keeps its words, for want of pictures that are unlike, may be found better in left-out pictures that are like:
 * only these have it as taught, in its place [k, f - detail + 1], or all if words do not find it. Returns as `lexiseg_head`. */
static int64_t learn_nearby(Kept *of, Gathered *to, const float *shares, const double *numbers, const int32_t *stop,
                            double *means, const Learned *learned, float *places, double *reported) {
    int64_t k = of->k, f = of->f, across = f - of->detail + 1, reviewed = of->lessons - of->everyday, some = 0, failed = 0;
    double likeness = numbers[LIKENESS], *iou = malloc((size_t)(3 * k) * sizeof(double));
    float *floats = malloc((size_t)(k * (f + 1)) * sizeof(float));
    int32_t *wants = malloc((size_t)k * sizeof(int32_t));
    const Learned near = {floats, floats + k * f, iou, wants};
    for (int64_t c = 0; c < k; c++)
        if (learned->of_words[c] >= 1) some += place_of(of, to->labels, means, likeness, c, places + c * across);
    if (!floats || !iou || !wants) failed = OUT_OF_MEMORY;
    if (some && !failed) {
        int64_t most = (int64_t)numbers[FOLDS];
        of->folds = fold(of, 0, most < reviewed ? most : reviewed);
        failed = learn(of, to, shares, numbers, stop, &near);
    }
    for (int64_t c = 0; c < k && some && !failed; c++) {
        float *place = places + c * across;
        if (place[across - 1] == 0) continue;
        if (near.of_words[c] >= 1 || iou[k + c] - iou[c] < NEARBY_GAIN) {
            memset(place, 0, (size_t)across * sizeof(float));
            continue;
        }
        memcpy(learned->directions + c * f, near.directions + c * f, (size_t)f * sizeof(float));
        learned->of_words[c] = near.of_words[c], learned->wants[c] = wants[c];
        for (int64_t way = 0; way < 3; way++) reported[way * k + c] = iou[way * k + c];
        if (iou[c] < UNFOUND) memset(place, 0, (size_t)across * sizeof(float));
    }
    free(iou);
    free(floats);
    free(wants);
    return failed;
}

/* Solve the head of lessons, as `Kept` describes them: `directions` [k, f], factors of words [k], `iou` [3, k] in 0..1 as
 * of `lexiseg_teach`, how many lessons show a class, and it wants more [2, k], `places` [k, f - detail + 1]: the mean
 * and the squared radius of the pictures that have a class as taught; zeros: all. `reported` [3, k] is `iou`, but of like
 * pictures where a class has a place. Returns 0, or 1 + a label if all cells have that one, or STOPPED soon after another
 * thread has set `stop`. */
API int64_t lexiseg_head(const uint16_t *cells, const int16_t *labels, const float *shares, const uint16_t *text,
                         const uint8_t *pixels, const int64_t *sizes, const int32_t *lesson_places, int64_t lessons, int64_t f,
                         int64_t k, const double *numbers, float *directions, float *of_words, double *iou, int32_t *shown,
                         float *places, double *reported, const int32_t *stop) {
    Kept of = {.cells = cells, .text = text, .labels = labels, .pixels = pixels, .shares = shares, .sizes = sizes,
               .places = lesson_places, .lessons = lessons, .f = f, .detail = (int64_t)numbers[DETAIL], .k = k,
               .folds = (int64_t)numbers[FOLDS], .everyday = (int64_t)numbers[EVERYDAY]};
    int64_t reviewed = lessons - of.everyday;
    if (of.folds > reviewed) of.folds = reviewed;
    for (int64_t i = 0; i < lessons; i++) of.n += sizes[2 * i];
    int64_t parts = 3 + of.folds, floats = of.n * (f + k) + parts * k * f, failed = OUT_OF_MEMORY;
    Gathered to = {.features = calloc((size_t)floats, sizeof(float)),
                   .labels = calloc((size_t)(2 * of.n + parts * k), sizeof(int32_t)),
                   .pixels = malloc((size_t)(of.n * (k + 1))),
                   .factors = malloc((size_t)k * sizeof(double))};
    double *means = calloc((size_t)((lessons + 1) * (f + 1)), sizeof(double));
    of.fold_of = malloc((size_t)(2 * lessons) * sizeof(int32_t));
    memset(places, 0, (size_t)(k * (f - of.detail + 1)) * sizeof(float));
    if (to.features && to.labels && to.pixels && to.factors && means && of.fold_of) {
        const Learned learned = {directions, of_words, iou, shown + k};
        of.group_of = of.fold_of + lessons;
        to.text = to.features + of.n * f, to.directions = to.text + of.n * k;
        to.fold = to.labels + of.n, to.shown = to.fold + of.n;
        for (int64_t i = 0; i < of.n * f; i++) to.features[i] = of_half(cells[i]);
        describe(&of, to.features, means);
        group_like(&of, means, numbers[LIKENESS]);
        of.folds = fold(&of, 1, of.folds);
        failed = learn(&of, &to, shares, numbers, stop, &learned);
        memcpy(shown, to.shown, (size_t)k * sizeof(int32_t));
        memcpy(reported, iou, (size_t)(3 * k) * sizeof(double));
        if (!failed && numbers[NEARBY]) failed = learn_nearby(&of, &to, shares, numbers, stop, means, &learned, places, reported);
    }
    free(to.features);
    free(to.labels);
    free(to.pixels);
    free(to.factors);
    free(means);
    free(of.fold_of);
    return failed;
}
