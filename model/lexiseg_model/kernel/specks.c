/* Specks of the winning labels go to what surrounds them: `lexiseg_model.masks.specks`, with the same labels. */
#include "kernel.h"

/* Of equal rows the first. best and winner [n]. */
WIDEST static void find_winners(const float *logits, int64_t k, int64_t n, float *restrict best,
                                int32_t *restrict winner) {
    memcpy(best, logits, (size_t)n * sizeof(float));
    memset(winner, 0, (size_t)n * sizeof(int32_t));
    for (int64_t row = 1; row < k; row++) {
        const float *scores = logits + row * n;
        for (int64_t i = 0; i < n; i++) {
            int better = scores[i] > best[i];
            winner[i] = better ? (int32_t)row : winner[i];
            best[i] = better ? scores[i] : best[i];
        }
    }
}

static int ascending(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

typedef struct {
    const uint16_t *region, *label; /* [h, w] */
    const uint8_t *speck;           /* of each region */
    int64_t k;
    int64_t *sides; /* region * k + label, one for each side of a cell; NULL: they are counted alone */
    int64_t n_sides;
} Border;

/* A side between the cells `one` and `two` counts for the speck of one with the label of the other. */
static inline void meet(Border *border, int64_t one, int64_t two) {
    uint16_t a = border->region[one], b = border->region[two];
    if (a == b || border->speck[a] == border->speck[b]) return;
    int64_t of = border->speck[a] ? a : b, to = border->speck[a] ? two : one;
    if (border->sides) border->sides[border->n_sides] = of * border->k + border->label[to];
    border->n_sides++;
}

static void walk(Border *border, int64_t h, int64_t w) {
    border->n_sides = 0;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            int64_t at = y * w + x;
            if (x) meet(border, at, at - 1);
            if (y) meet(border, at, at - w);
        }
}

/* The label with most sides of each speck, of equals the first; others keep theirs. Sorts the sides. */
static void inherit(Border *border, uint16_t *heir) {
    qsort(border->sides, (size_t)border->n_sides, sizeof(int64_t), ascending);
    int64_t most = 0, before = -1;
    for (int64_t i = 0, end; i < border->n_sides; i = end) {
        for (end = i; end < border->n_sides && border->sides[end] == border->sides[i];) end++;
        int64_t region = border->sides[i] / border->k;
        if (region != before) most = 0;
        before = region;
        if (end - i <= most) continue;
        most = end - i;
        heir[region] = (uint16_t)(border->sides[i] % border->k);
    }
}

/* Exchanges, at each cell of a speck, the logits of its label and of its heir's; returns at how many cells.
 *
 * logits [K, h, w], K up to 65,535; `area`, `part` and `min_share` (its `least`) as in SpeckRule; label K_classes is
 * nobody's. With `max_regions` regions or more nothing is done. */
API int64_t lexiseg_tidy(float *logits, int64_t k, int64_t h, int64_t w, int64_t n_classes, double area, double part,
                         double min_share, int64_t max_regions) {
    int64_t n = h * w, done = 0;
    float *best = malloc((size_t)n * (sizeof(float) + sizeof(int32_t) + 2 * sizeof(uint16_t)));
    if (!best) return OUT_OF_MEMORY;
    int32_t *winner = (int32_t *)(best + n);
    uint16_t *label = (uint16_t *)(winner + n), *region = label + n;
    find_winners(logits, k, n, best, winner);
    for (int64_t i = 0; i < n; i++) label[i] = (uint16_t)winner[i];

    int64_t n_runs = lexiseg_count_row_runs(label, h, w, 1);
    int64_t *ends = malloc((size_t)n_runs * (2 * sizeof(int64_t) + 2 * sizeof(int32_t)));
    double *largest = calloc((size_t)k, sizeof(double));
    uint16_t *heir = NULL;
    uint8_t *speck = NULL;
    Border border = {.region = region, .label = label, .k = k};
    if (!ends || !largest) goto out_of_memory;
    int64_t *areas = ends + n_runs;
    int32_t *of_run = (int32_t *)(areas + n_runs), *classes = of_run + n_runs;
    int64_t n_regions = lexiseg_connect(label, h, w, 1, n_runs, ends, of_run, areas, classes);
    if (n_regions >= max_regions) goto end;
    heir = malloc((size_t)n_regions * sizeof(uint16_t));
    speck = malloc((size_t)n_regions);
    if (!heir || !speck) goto out_of_memory;

    for (int64_t r = 0; r < n_regions; r++) {
        double share = (double)areas[r] / (double)n;
        if (share > largest[classes[r]]) largest[classes[r]] = share;
    }
    for (int64_t r = 0; r < n_regions; r++) {
        double share = (double)areas[r] / (double)n;
        int beside = classes[r] == n_classes || share < part * largest[classes[r]];
        speck[r] = (share < area && beside) || share < min_share;
        heir[r] = (uint16_t)classes[r];
    }
    for (int64_t run = 0, at = 0; run < n_runs; run++)
        for (; at < ends[run]; at++) region[at] = (uint16_t)of_run[run];
    border.speck = speck;
    walk(&border, h, w);
    if (!border.n_sides) goto end;
    border.sides = malloc((size_t)border.n_sides * sizeof(int64_t));
    if (!border.sides) goto out_of_memory;
    walk(&border, h, w);
    inherit(&border, heir);

    for (int64_t i = 0; i < n; i++) {
        uint16_t to = heir[region[i]];
        if (to == label[i]) continue;
        float *one = logits + label[i] * n + i, *other = logits + to * n + i, held = *one;
        *one = *other;
        *other = held;
        done++;
    }
    goto end;
out_of_memory:
    done = OUT_OF_MEMORY;
end:
    free(border.sides);
    free(speck);
    free(heir);
    free(largest);
    free(ends);
    free(best);
    return done;
}
