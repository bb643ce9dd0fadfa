/* Who wins each pixel after bilinear upsampling: `lexiseg_model.masks.upsample` in one pass, with the same roundings.
 *
 * A row of low-resolution cells at a time: first the candidates of each cell, then the rows of pixels that lie in it.
 * Pixels are worked on LANES at a time; what is written beyond a cell's last pixel, the next cell writes again. */
#include "kernel.h"

#include <math.h>

#define LANES 8
#define BLOCK 16 /* cells that are looked at together for candidates */
#define SUMMED 512 /* pixels in one sum of floats: of more, the small ones get lost */
#define ROWS 32  /* whose exponentials are summed before they join the rest */
static const float SLACK = 1e-4f;
static const float LEAST = -1e30f; /* what -inf counts as: between infinite corners lies no number */

/* What a candidate has at the upper corners of its cell, and how much more at the lower ones. */
typedef struct {
    float left, right, left_more, right_more;
} Corners;

/* Of one row of cells: the rows of the scores that can win in cell x are rows[x * K] and behind it, as many as count. */
typedef struct {
    float *highest;   /* [K, w], of a cell's four corners */
    float *least;     /* [w], what the best row never falls below, less SLACK */
    int32_t *rows;    /* [w, K] */
    int32_t *count;   /* [w] */
    Corners *corners; /* at most [w * K], of one candidate after the other */
} Candidates;

typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef int32_t Wholes __attribute__((vector_size(4 * LANES)));

/* LANES numbers from and to any place. Macros: a function of its own could not return them in registers everywhere. */
#define take(from) (*(const UnalignedFloats *)(from))
#define take_whole(from) (*(const UnalignedWholes *)(from))
#define put(to, value) (*(UnalignedFloats *)(to) = (value))
#define put_whole(to, value) (*(UnalignedWholes *)(to) = (value))
typedef Floats UnalignedFloats __attribute__((aligned(4), may_alias));
typedef Wholes UnalignedWholes __attribute__((aligned(4), may_alias));

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

/* exp(x) for x in -87..0, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
#define EXP_OF(x, y)                                                                                                   \
    do {                                                                                                               \
        Wholes whole = __builtin_convertvector((x)*1.44269504088896341f - 0.5f, Wholes); /* to the nearest below 0 */   \
        Floats n = __builtin_convertvector(whole, Floats);                                                             \
        Floats rest = (x)-n * 0.693359375f - n * -2.12194440e-4f;                                                      \
        (y) = rest * 1.9875691500e-4f + 1.3981999507e-3f;                                                              \
        (y) = (y)*rest + 8.3334519073e-3f;                                                                             \
        (y) = (y)*rest + 4.1665795894e-2f;                                                                             \
        (y) = (y)*rest + 1.6666665459e-1f;                                                                             \
        (y) = (y)*rest + 5.0000001201e-1f;                                                                             \
        (y) = ((y) * (rest * rest) + rest + 1.0f) * (Floats)((whole + 127) << 23);                                     \
    } while (0)
#define CHOOSE(where, a, b) ((Floats)(((Wholes)(a) & (where)) | ((Wholes)(b) & ~(where))))

WIDEST static void bounds(const float *upper, const float *lower, int64_t w, float *restrict highest,
                          float *restrict lowest) {
    for (int64_t x = 0; x + 1 < w; x++) {
        highest[x] = larger(larger(upper[x], upper[x + 1]), larger(lower[x], lower[x + 1]));
        lowest[x] = larger(lowest[x], smaller(smaller(upper[x], upper[x + 1]), smaller(lower[x], lower[x + 1])));
    }
    highest[w - 1] = larger(upper[w - 1], lower[w - 1]);
    lowest[w - 1] = larger(lowest[w - 1], smaller(upper[w - 1], lower[w - 1]));
}

/* Whether any of BLOCK values reaches its bound: almost never, so it is asked for all of them at once. */
WIDEST static void reach(const float *highest, const float *least, int64_t blocks, uint8_t *any) {
    for (int64_t b = 0; b < blocks; b++) {
        int32_t some = 0;
        for (int i = 0; i < BLOCK; i++) some |= highest[b * BLOCK + i] >= least[b * BLOCK + i];
        any[b] = (uint8_t)some;
    }
}

static void find_candidates(const float *scores, int64_t k, int64_t h, int64_t w, int64_t y, Candidates *found,
                            uint8_t *any) {
    int64_t below = y + 1 < h ? w : 0;
    for (int64_t x = 0; x < w; x++) found->least[x] = -__builtin_inff();
    for (int64_t row = 0; row < k; row++) {
        const float *upper = scores + (row * h + y) * w;
        bounds(upper, upper + below, w, found->highest + row * w, found->least);
    }
    for (int64_t x = 0; x < w; x++) {
        found->least[x] -= SLACK;
        found->count[x] = 0;
    }
    int64_t blocks = w / BLOCK;
    for (int64_t row = 0; row < k; row++) {
        const float *highest = found->highest + row * w;
        reach(highest, found->least, blocks, any);
        for (int64_t b = 0; b <= blocks; b++) {
            if (b < blocks && !any[b]) continue;
            int64_t end = b < blocks ? (b + 1) * BLOCK : w;
            for (int64_t x = b * BLOCK; x < end; x++)
                if (highest[x] >= found->least[x]) found->rows[x * k + found->count[x]++] = (int32_t)row;
        }
    }
}

/* Gathered once for all rows of pixels in them: scores lie far apart. `below` cells from an upper to a lower row. */
static void gather_corners(const float *scores, int64_t k, int64_t plane, int64_t w, int64_t below, Candidates *found) {
    Corners *corners = found->corners;
    for (int64_t x = 0; x < w; x++) {
        int64_t right = x + 1 < w;
        for (int32_t rank = 0; rank < found->count[x]; rank++) {
            const float *corner = scores + found->rows[x * k + rank] * plane + x;
            float here = larger(corner[0], LEAST), beside = larger(corner[right], LEAST);
            *corners++ = (Corners){here, beside, larger(corner[below], LEAST) - here,
                                   larger(corner[right + below], LEAST) - beside};
        }
    }
}

/* Best score and its row over the pixels of one row. */
WIDEST static void contest(int64_t k, int64_t w, float wy, const Candidates *found, const int64_t *start,
                           const float *restrict weight, float *restrict best, int32_t *restrict winner) {
    const Corners *corner = found->corners;
    for (int64_t x = 0; x < w; x++) {
        int64_t from = start[x], to = start[x + 1];
        if (from == to) {
            corner += found->count[x];
            continue;
        }
        for (int32_t rank = 0; rank < found->count[x]; rank++, corner++) {
            float left = corner->left + wy * corner->left_more;
            float step = corner->right + wy * corner->right_more - left;
            int32_t row = found->rows[x * k + rank];
            if (rank == 0) {
                for (int64_t p = from; p < to; p += LANES) {
                    put(best + p, step * take(weight + p) + left);
                    put_whole(winner + p, (Wholes){0} + row);
                }
                continue;
            }
            for (int64_t p = from; p < to; p += LANES) {
                Floats score = step * take(weight + p) + left, before = take(best + p);
                Wholes better = score > before;
                put(best + p, CHOOSE(better, score, before));
                put_whole(winner + p, (((Wholes){0} + row) & better) | (take_whole(winner + p) & ~better));
            }
        }
    }
}

/* The upsampled normaliser of one row of pixels. */
WIDEST static void along(const float *upper, const float *lower, int64_t w, float wy, const int64_t *start,
                         const float *restrict weight, float *restrict total) {
    for (int64_t x = 0; x < w; x++) {
        int64_t right = x + 1 < w ? x + 1 : x;
        float left = upper[x] + wy * (lower[x] - upper[x]);
        float step = upper[right] + wy * (lower[right] - upper[right]) - left;
        for (int64_t p = start[x]; p < start[x + 1]; p += LANES) put(total + p, left + take(weight + p) * step);
    }
}

/* From best scores to probabilities; the last are worked on beyond the end of the row. */
WIDEST static void probabilities(float *best, const float *total, int64_t n) {
    const Floats none = {0}, least = none - 87.0f;
    for (int64_t p = 0; p < n; p += LANES) {
        Floats below = take(best + p) - take(total + p), y;
        below = CHOOSE(below > least, below, least); /* what is no number, too, becomes almost nothing */
        below = CHOOSE(below < none, below, none);
        EXP_OF(below, y);
        put(best + p, y);
    }
}

WIDEST static void narrow(const int32_t *winner, int64_t n, void *labels, int wide) {
    if (wide)
        for (int64_t p = 0; p < n; p++) ((uint16_t *)labels)[p] = (uint16_t)winner[p];
    else
        for (int64_t p = 0; p < n; p++) ((uint8_t *)labels)[p] = (uint8_t)winner[p];
}

/* Adds every pixel's probability to its winner's: in one sum over cells side by side that have one candidate, the same. */
WIDEST static void count_votes(const float *value, const int32_t *winner, const Candidates *found, const int64_t *start,
                               int64_t w, double *votes) {
    for (int64_t x = 0, next; x < w; x = next) {
        int64_t from = start[x], to = start[next = x + 1];
        if (from == to) continue;
        if (found->count[x] > 1) {
            for (int64_t p = from; p < to; p++) votes[winner[p]] += value[p];
            continue;
        }
        for (; next < w && found->count[next] <= 1 && start[next + 1] - from <= SUMMED; to = start[++next])
            if (to < start[next + 1] && winner[to] != winner[from]) break;
        Floats sums = {0};
        int64_t p = from;
        for (; p + LANES <= to; p += LANES) sums += take(value + p);
        float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; p < to; p++) sum += value[p];
        votes[winner[from]] += sum;
    }
}

/* log(sum(exp(scores))) over the K rows, of n cells side by side: [K, n] -> [n]. */
WIDEST static void normalise(const float *scores, int64_t k, int64_t n, float *restrict highest, float *restrict sum) {
    const Floats none = {0}, least = none - 87.0f;
    for (int64_t i = 0; i < n; i++) highest[i] = LEAST;
    for (int64_t row = 0; row < k; row++)
        for (int64_t i = 0; i < n; i++) highest[i] = larger(scores[row * n + i], highest[i]);
    memset(sum, 0, (size_t)n * sizeof(float));
    for (int64_t from = 0; from < k; from += ROWS) { /* sums of sums: thousands of small terms, one by one, get lost */
        int64_t to = from + ROWS < k ? from + ROWS : k, i = 0;
        for (; i + LANES <= n; i += LANES) {
            Floats part = none;
            for (int64_t row = from; row < to; row++) {
                Floats below = take(scores + row * n + i) - take(highest + i), y;
                below = CHOOSE(below > least, below, least);
                EXP_OF(below, y);
                part += y;
            }
            put(sum + i, take(sum + i) + part);
        }
        for (; i < n; i++) {
            float part = 0;
            for (int64_t row = from; row < to; row++) part += expf(scores[row * n + i] - highest[i]);
            sum[i] += part;
        }
    }
    for (int64_t i = 0; i < n; i++) sum[i] = highest[i] + logf(sum[i]);
}

/* Labels, votes and probabilities of all pixels.
 *
 * scores [K, h, w]; y_low, y_weight [H]; x_low, x_weight [W], their values ascending;
 * labels [H, W] of 1 or 2 (`wide`) bytes; probability [H, W] or NULL; votes [K], added to. */
API int64_t lexiseg_winners(const float *scores, int64_t k, int64_t h, int64_t w, const int64_t *y_low,
                            const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                            int64_t width, void *labels, int64_t wide, float *probability, double *votes) {
    size_t padded = (size_t)width + LANES;
    size_t floats = (size_t)(k * w) + (size_t)w + 3 * padded + 2 * (size_t)(h * w);
    size_t integers = (size_t)(w * k) + (size_t)w + padded;
    /* Of the corners only as many are touched as there are candidates, mostly one or two a cell. */
    Corners *corners = malloc((size_t)(w * k) * sizeof(Corners));
    float *space = calloc(1, floats * sizeof(float) + integers * sizeof(int32_t) + (size_t)(w + 1) * sizeof(int64_t) +
                                 (size_t)w / BLOCK + 1);
    if (!space || !corners) {
        free(space);
        free(corners);
        return OUT_OF_MEMORY;
    }
    int64_t *start = (int64_t *)space; /* [w + 1], first pixel of each column of cells */
    float *weight = (float *)(start + w + 1), *best = weight + padded, *total = best + padded;
    float *highest = total + padded, *normaliser = highest + h * w;
    Candidates found = {.highest = normaliser + h * w, .least = normaliser + h * w + k * w, .corners = corners};
    int32_t *winner = (int32_t *)(found.least + w);
    found.rows = winner + padded;
    found.count = found.rows + w * k;
    uint8_t *any = (uint8_t *)(found.count + w);

    normalise(scores, k, h * w, highest, normaliser);
    memcpy(weight, x_weight, (size_t)width * sizeof(float));
    for (int64_t x = 0, p = 0; x <= w; x++) {
        while (p < width && x_low[p] < x) p++;
        start[x] = p;
    }
    int64_t cells = -1; /* the row of cells whose candidates are known */
    for (int64_t y = 0; y < height; y++) {
        int64_t below = y_low[y] + 1 < h ? w : 0;
        if (y_low[y] != cells) {
            find_candidates(scores, k, h, w, cells = y_low[y], &found, any);
            gather_corners(scores + cells * w, k, h * w, w, below, &found);
        }
        const float *normal = normaliser + cells * w;
        contest(k, w, y_weight[y], &found, start, weight, best, winner);
        along(normal, normal + below, w, y_weight[y], start, weight, total);
        probabilities(best, total, width);
        narrow(winner, width, (char *)labels + (y * width << wide), (int)wide);
        count_votes(best, winner, &found, start, w, votes);
        if (probability) memcpy(probability + y * width, best, (size_t)width * sizeof(float));
    }
    free(space);
    free(corners);
    return 0;
}
