/* Who wins each pixel after bilinear upsampling: `lexiseg_model.masks.upsample` in one pass, with the same roundings.
 *
 * A row of low-resolution cells at a time: first the candidates of each cell, then the rows of pixels that lie in it.
 * Whatever the width of vectors, each number is made in the same steps: all processors answer alike. */
#include "kernel.h"

#include <math.h>

#define MOST_LANES 16
#define BLOCK 16 /* cells that are looked at together for candidates */
#define SUMMED 512 /* pixels in one sum of floats: of more, the small ones get lost */
#define ROWS 32  /* whose exponentials are summed before they join the rest */
static const float SLACK = 1e-4f;
static const float LEAST = -1e30f; /* what -inf counts as: between infinite corners lies no number */

/* What a candidate has at the upper corners of its cell, and how much more at the lower ones. */
typedef struct {
    float left, right, left_more, right_more;
    int32_t row;
} Corners;

/* Of one row of cells: the rows of the scores that can win in cell x are rows[x * K] and behind it, as many as count. The
 * first of each has its corners in arrays of their own; the others have them one after the other. */
typedef struct {
    float *highest;   /* [K, w], of a cell's four corners */
    float *least;     /* [w], what the best row never falls below, less SLACK */
    int32_t *rows;    /* [w, K] */
    int32_t *count;   /* [w] */
    int32_t *first;   /* [w], the first of each */
    float *left, *right, *left_more, *right_more;
    Corners *corners; /* of the contested cells: at most [w * (K - 1)] */
    int32_t *contested; /* cells with several candidates */
    int64_t n_contested;
} Candidates;

/* Where the pixels of a row lie between the cells, filled up to whole vectors. */
typedef struct {
    int64_t w, width;
    int64_t *start;  /* [w + 1], first pixel of each cell */
    int64_t *base;   /* of each vector of pixels the cell of the first */
    int32_t *places; /* [width], of each pixel its cell, from there on */
    float *weight;   /* [width] */
} Across;

/* The pixels of a row whose probability is wanted, in whole vectors. */
typedef struct {
    int64_t from, to;
} Span;
typedef struct {
    Span *each;
    int64_t n;
} Spans;

/* What is made of one row. */
typedef struct {
    float *left, *step, *normal, *normal_step; /* of the cells */
    float *best;                               /* of the pixels */
    int32_t *winner; /* where nobody contests a cell, as in the row of pixels before */
} Space;

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

#define LANES 8
#define NAMED(name) name##_of_any
#define ENTRY
#define PICK(to, from, places) \
    for (int lane_ = 0; lane_ < LANES; lane_++) (to)[lane_] = (from)[(places)[lane_]]
#define PUT(to, vector, mine) \
    for (int lane_ = 0; lane_ < LANES; lane_++) \
        if ((mine)[lane_]) (to)[lane_] = (vector)[lane_]
#define REACHED(bits, one, other) \
    for (int lane_ = 0; lane_ < LANES; lane_++) (bits) |= (uint32_t)((one)[lane_] >= (other)[lane_]) << lane_
#include "winners_steps.h"

#if MANY_PROCESSORS
#include <immintrin.h>
#define PICK_NEAR(to, from, places) (to) = __builtin_shuffle(*(const __typeof__(to) *)(from), places)

#define LANES 8
#define NAMED(name) name##_of_eight
#define ENTRY __attribute__((target("avx2")))
#define PICK PICK_NEAR
#define PUT(to, vector, mine) _mm256_maskstore_ps(to, (__m256i)(mine), (__m256)(vector))
#define REACHED(bits, one, other) \
    (bits) = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(one), _mm256_loadu_ps(other), _CMP_GE_OQ))
#include "winners_steps.h"

#define LANES 16
#define NAMED(name) name##_of_sixteen
#define ENTRY SIXTEEN_WIDE
#define PICK PICK_NEAR
#define PUT(to, vector, mine) \
    _mm512_mask_storeu_ps(to, _mm512_test_epi32_mask((__m512i)(mine), (__m512i)(mine)), (__m512)(vector))
#define REACHED(bits, one, other) \
    (bits) = (uint32_t)_mm512_cmp_ps_mask(_mm512_loadu_ps(one), _mm512_loadu_ps(other), _CMP_GE_OQ)
#include "winners_steps.h"
#endif

/* The steps by the widest vectors that the processor has. */
typedef struct {
    int64_t lanes;
    void (*bounds)(const float *, const float *, int64_t, float *restrict, float *restrict);
    void (*reach)(const float *, const float *, int64_t, uint16_t *);
    void (*lead)(const Across *, const Candidates *, int32_t *restrict);
    void (*win)(const Across *, float, const Candidates *, const Spans *, const float *, const float *, Space *, void *,
                int);
    int64_t (*add_exponentials)(const float *, int64_t, int64_t, int64_t, int64_t, int64_t, const float *, float *);
} Way;

#define WAY(lanes, name) (Way){lanes, bounds_##name, reach_##name, lead_##name, win_##name, add_exponentials_##name}

/* `most` lanes at most. */
static Way way(int64_t most) {
#if MANY_PROCESSORS
    if (most >= 16 && lanes() == 16) return WAY(16, of_sixteen);
    if (most >= 8 && __builtin_cpu_supports("avx2")) return WAY(8, of_eight);
#endif
    return (void)most, WAY(8, of_any);
}

static void find_candidates(const Way *by, const float *scores, int64_t k, int64_t h, int64_t w, int64_t y,
                            Candidates *found, uint16_t *any) {
    int64_t below = y + 1 < h ? w : 0;
    for (int64_t x = 0; x < w; x++) found->least[x] = -__builtin_inff();
    for (int64_t row = 0; row < k; row++) {
        const float *upper = scores + (row * h + y) * w;
        by->bounds(upper, upper + below, w, found->highest + row * w, found->least);
    }
    for (int64_t x = 0; x < w; x++) {
        found->least[x] -= SLACK;
        found->count[x] = 0;
    }
    int64_t blocks = w / BLOCK;
    for (int64_t row = 0; row < k; row++) {
        const float *highest = found->highest + row * w;
        by->reach(highest, found->least, blocks, any);
        for (int64_t b = 0; b < blocks; b++)
            for (uint32_t some = any[b]; some; some &= some - 1) {
                int64_t x = b * BLOCK + __builtin_ctz(some);
                found->rows[x * k + found->count[x]++] = (int32_t)row;
            }
        for (int64_t x = blocks * BLOCK; x < w; x++)
            if (highest[x] >= found->least[x]) found->rows[x * k + found->count[x]++] = (int32_t)row;
    }
}

/* Gathered once for all rows of pixels in them: scores lie far apart. `below` cells from an upper to a lower row. */
static void gather_corners(const float *scores, int64_t k, int64_t plane, int64_t w, int64_t below, Candidates *found) {
    Corners *corners = found->corners;
    found->n_contested = 0;
    for (int64_t x = 0; x < w; x++) {
        int64_t right = x + 1 < w;
        if (found->count[x] > 1) found->contested[found->n_contested++] = (int32_t)x;
        for (int32_t rank = 0; rank < found->count[x]; rank++) {
            int32_t row = found->rows[x * k + rank];
            const float *corner = scores + row * plane + x;
            float here = larger(corner[0], LEAST), beside = larger(corner[right], LEAST);
            float here_more = larger(corner[below], LEAST) - here;
            float beside_more = larger(corner[right + below], LEAST) - beside;
            if (rank) *corners++ = (Corners){here, beside, here_more, beside_more, row};
            else {
                found->first[x] = row;
                found->left[x] = here;
                found->right[x] = beside;
                found->left_more[x] = here_more;
                found->right_more[x] = beside_more;
            }
        }
    }
}

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

/* Pixels of a row whose probabilities are one sum: of cells side by side that have one candidate, the same. Of a cell with
 * several candidates each pixel counts for itself. */
typedef struct {
    int64_t from, to;
    int64_t row; /* whose they are; CONTESTED */
} Group;
enum { CONTESTED = -1 };

/* For all rows of pixels in a row of cells: how many groups there are. groups [w]. */
static int64_t group_pixels(const Candidates *found, const int64_t *start, int64_t w, Group *groups) {
    int64_t n = 0;
    for (int64_t x = 0, next; x < w; x = next) {
        int64_t from = start[x], to = start[next = x + 1];
        if (from == to) continue;
        if (found->count[x] > 1) {
            groups[n++] = (Group){from, to, CONTESTED};
            continue;
        }
        for (; next < w && found->count[next] <= 1 && start[next + 1] - from <= SUMMED; to = start[++next])
            if (to < start[next + 1] && found->first[next] != found->first[x]) break;
        groups[n++] = (Group){from, to, found->first[x]};
    }
    return n;
}

/* For all rows of pixels in a row of cells: where one of the first `counted` rows may win. `wanted` [w] of the cells. */
static void find_spans(const Candidates *found, const int64_t *start, int64_t w, int64_t counted, int64_t lanes,
                       Spans *spans, uint8_t *wanted) {
    spans->n = 0;
    for (int64_t x = 0; x < w; x++) {
        wanted[x] = start[x] < start[x + 1] && (found->count[x] > 1 || found->first[x] < counted);
        if (!wanted[x]) continue;
        Span span = {start[x] & -lanes, up(start[x + 1], lanes)};
        Span *last = spans->each + spans->n - 1;
        if (spans->n && span.from <= last->to) last->to = span.to;
        else spans->each[spans->n++] = span;
    }
}

/* Adds every pixel's probability to its winner's, where that may be one of the first `counted` rows. */
WIDEST static void count_votes(const float *value, const int32_t *winner, const Group *groups, int64_t n,
                               int64_t counted, double *votes) {
    for (const Group *group = groups; group < groups + n; group++) {
        int64_t p = group->from, to = group->to;
        if (group->row >= counted) continue;
        if (group->row == CONTESTED) {
            for (; p < to; p++) votes[winner[p]] += value[p];
            continue;
        }
        Eight sums = {0};
        for (; p + 8 <= to; p += 8) sums += *(const Eight *)(value + p);
        float sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; p < to; p++) sum += value[p];
        votes[group->row] += sum;
    }
}

WIDEST static void find_highest(const float *scores, int64_t k, int64_t n, int64_t from, int64_t to,
                                float *restrict highest) {
    for (int64_t i = from; i < to; i++) highest[i] = LEAST;
    for (int64_t row = 0; row < k; row++)
        for (int64_t i = from; i < to; i++) highest[i] = larger(scores[row * n + i], highest[i]);
}

/* log(sum(exp(scores))) over the K rows, of the n cells those in blocks `from` to `to`: [K, n] -> sum [n]. */
static void normalise(const Way *by, const float *scores, int64_t k, int64_t n, int64_t from, int64_t to,
                      float *restrict highest, float *restrict sum) {
    const Way narrow = way(8);
    const int64_t first = from * BLOCK, end = to * BLOCK < n ? to * BLOCK : n;
    find_highest(scores, k, n, first, end, highest);
    memset(sum + first, 0, (size_t)(end - first) * sizeof(float));
    for (int64_t row = 0; row < k; row += ROWS) { /* sums of sums: thousands of small terms, one by one, get lost */
        int64_t last = row + ROWS < k ? row + ROWS : k;
        int64_t i = by->add_exponentials(scores, row, last, n, first, end, highest, sum);
        i = narrow.add_exponentials(scores, row, last, n, i, end, highest, sum);
        for (; i < end; i++) {
            float part = 0;
            for (int64_t each = row; each < last; each++) part += expf(scores[each * n + i] - highest[i]);
            sum[i] += part;
        }
    }
    for (int64_t i = first; i < end; i++) sum[i] = highest[i] + logf(sum[i]);
}

/* The same of all blocks with cells from `first` to `last`, as far as that is not `done`. */
static void normalise_around(const Way *by, const float *scores, int64_t k, int64_t n, int64_t first, int64_t last,
                             uint8_t *done, float *highest, float *sum) {
    for (int64_t from = first / BLOCK, end = last / BLOCK + 1; from < end; from++) {
        int64_t to = from;
        while (to < end && !done[to]) done[to++] = 1;
        if (to > from) normalise(by, scores, k, n, from, to, highest, sum);
    }
}

/* The next n numbers of four bytes. */
static void *take(float **at, size_t n) {
    float *first = *at;
    *at += n;
    return first;
}

/* Whether each vector of pixels has its cells within as many. */
static int place(Across *across, const int64_t *x_low, const float *x_weight, int64_t lanes) {
    int near = 1;
    for (int64_t from = 0, vector = 0; from < across->width; from += lanes, vector++) {
        int64_t first = across->base[vector] = x_low[from], to = from + lanes < across->width ? from + lanes : across->width;
        for (int64_t p = from; p < to; p++) across->places[p] = (int32_t)(x_low[p] - first);
        near &= x_low[to - 1] - first < lanes;
    }
    memcpy(across->weight, x_weight, (size_t)across->width * sizeof(float));
    for (int64_t x = 0, p = 0; x <= across->w; x++) {
        while (p < across->width && x_low[p] < x) p++;
        across->start[x] = p;
    }
    return near;
}

/* As `lexiseg_winners`; without `probability`, the votes of the first `counted` rows alone. */
int64_t lexiseg_winners_of_some(const float *scores, int64_t k, int64_t h, int64_t w, const int64_t *y_low,
                                const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                                int64_t width, void *labels, int64_t wide, float *probability, double *votes,
                                int64_t counted) {
    const size_t pixels = (size_t)width + MOST_LANES, cells = (size_t)w + MOST_LANES, all = (size_t)(h * w) + MOST_LANES;
    size_t bytes = ((size_t)w + 1 + pixels) * sizeof(int64_t) + (size_t)w * sizeof(Group); /* start, base, groups */
    bytes += (size_t)w * sizeof(Span);
    bytes += (4 * pixels + 12 * cells + (size_t)(2 * k * w) + 2 * all) * 4 + ((size_t)w / BLOCK + 1) * 2;
    bytes += (size_t)w + (size_t)(h * w) / BLOCK + 1; /* wanted, done */
    /* Of the corners only as many are touched as there are candidates, mostly one or two a cell. */
    Corners *corners = malloc((size_t)(w * k) * sizeof(Corners));
    int64_t *room = calloc(1, bytes);
    if (!room || !corners) {
        free(room);
        free(corners);
        return OUT_OF_MEMORY;
    }
    Across across = {.w = w, .width = width, .start = room, .base = room + w + 1};
    Group *groups = (Group *)(across.base + pixels);
    Spans spans = {.each = (Span *)(groups + w)};
    float *at = (float *)(spans.each + w);
    across.places = take(&at, pixels);
    across.weight = take(&at, pixels);
    Space space;
    space.best = take(&at, pixels);
    space.winner = take(&at, pixels);
    space.left = take(&at, cells);
    space.step = take(&at, cells);
    space.normal = take(&at, cells);
    space.normal_step = take(&at, cells);
    Candidates found = {.corners = corners};
    found.least = take(&at, cells);
    found.count = take(&at, cells);
    found.first = take(&at, cells);
    found.left = take(&at, cells);
    found.right = take(&at, cells);
    found.left_more = take(&at, cells);
    found.right_more = take(&at, cells);
    found.contested = take(&at, cells);
    found.highest = take(&at, (size_t)(k * w));
    found.rows = take(&at, (size_t)(k * w));
    float *highest = take(&at, all);
    float *normaliser = take(&at, all);
    uint16_t *any = (uint16_t *)at;
    uint8_t *wanted = (uint8_t *)(any + w / BLOCK + 1), *done = wanted + w;

    Way by = way(MOST_LANES);
    if (!place(&across, x_low, x_weight, by.lanes)) {
        by = way(0);
        place(&across, x_low, x_weight, by.lanes);
    }
    if (probability) counted = k;
    if (counted >= k) normalise_around(&by, scores, k, h * w, 0, h * w - 1, done, highest, normaliser);
    int64_t row = -1, n_groups = 0; /* of cells whose candidates are known */
    for (int64_t y = 0; y < height; y++) {
        int64_t below = y_low[y] + 1 < h ? w : 0;
        if (y_low[y] != row) {
            find_candidates(&by, scores, k, h, w, row = y_low[y], &found, any);
            gather_corners(scores + row * w, k, h * w, w, below, &found);
            n_groups = group_pixels(&found, across.start, w, groups);
            find_spans(&found, across.start, w, counted, by.lanes, &spans, wanted);
            by.lead(&across, &found, space.winner);
            for (int64_t x = 0, next; x < w; x = next + 1) {
                for (next = x; next < w && wanted[next]; next++) {} /* and the cell behind them, whose corners count */
                int64_t first = row * w + x, last = row * w + (next < w ? next : w - 1);
                if (next == x) continue;
                normalise_around(&by, scores, k, h * w, first, last, done, highest, normaliser);
                normalise_around(&by, scores, k, h * w, first + below, last + below, done, highest, normaliser);
            }
        }
        const float *normal = normaliser + row * w;
        void *here = (char *)labels + (y * width << wide);
        by.win(&across, y_weight[y], &found, &spans, normal, normal + below, &space, here, (int)wide);
        count_votes(space.best, space.winner, groups, n_groups, counted, votes);
        if (probability) memcpy(probability + y * width, space.best, (size_t)width * sizeof(float));
    }
    free(room);
    free(corners);
    return 0;
}

/* Labels, votes and probabilities of all pixels.
 *
 * scores [K, h, w]; y_low, y_weight [H]; x_low, x_weight [W], their values ascending;
 * labels [H, W] of 1 or 2 (`wide`) bytes; probability [H, W] or NULL; votes [K], added to. */
API int64_t lexiseg_winners(const float *scores, int64_t k, int64_t h, int64_t w, const int64_t *y_low,
                            const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                            int64_t width, void *labels, int64_t wide, float *probability, double *votes) {
    return lexiseg_winners_of_some(scores, k, h, w, y_low, y_weight, height, x_low, x_weight, width, labels, wide,
                                   probability, votes, k);
}
