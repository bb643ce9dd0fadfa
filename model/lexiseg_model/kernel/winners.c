/* The arg-max class of each pixel after bilinear upsampling: `lexiseg_model.masks.upsample` in one pass, bit for bit.
 *
 * One row of low-resolution cells at a time: first the candidates of each cell, then the rows of pixels inside it.
 * The order of operations does not depend on the vector width, so results are equal on all processors. */
#include "kernel.h"

#include <math.h>

#define BLOCK 16   /* cells that are tested for candidates together */
#define SUMMED 512 /* pixels in one float sum; longer sums lose small terms */
#define ROWS 32    /* rows of scores in one partial sum of exponentials; longer sums lose small terms */
static const float SLACK = 1e-4f; /* of the scores: rounding must not lose a candidate */
static const float LOWEST = -1e30f; /* replaces -inf, as interpolation between infinite corners gives NaN */

/* Scores of a candidate at the upper corners of its cell, and the differences to the lower corners. */
typedef struct {
    float left, right, left_more, right_more;
    int32_t row;
} Corners;

/* The rows of the scores that can win, for one row of cells: count[x] of them in cell x, from rows[x * K] on. The corners of a
 * cell's first candidate are in arrays by cell, so that many cells are compared at a time; those of the others in `corners`. */
typedef struct {
    float *highest;   /* [K, w], of a cell's four corners */
    float *floor;     /* [w], lower bound of the best row inside the cell, minus SLACK */
    int32_t *rows;    /* [w, K] */
    int32_t *count;   /* [w] */
    int32_t *first;   /* [w], the first of each */
    float *left, *right, *left_more, *right_more;
    Corners *corners; /* of the other candidates, cell by cell: at most [w * (K - 1)] */
    int32_t *contested; /* cells with several candidates */
    int64_t n_contested;
} Candidates;

/* Interpolation of a row's pixels between cells; the same for all rows. Padded to whole vectors. */
typedef struct {
    int64_t w, width;
    int64_t *start;  /* [w + 1], first pixel of each cell */
    int64_t *base;   /* the cell of the first pixel of each vector */
    int32_t *places; /* [width], the cell of each pixel, counted from its vector's base */
    float *weight;   /* [width] */
    int near;        /* whether all places are below LANES, so that one shuffle reads them */
} Across;

/* The pixels of a row whose probability is needed, in whole vectors. */
typedef struct {
    int64_t from, to;
} Span;
typedef struct {
    Span *each;
    int64_t n;
} Spans;

/* Buffers of one row. */
typedef struct {
    float *left, *step, *normal, *normal_step; /* of the cells */
    float *best;                               /* of the pixels */
    int32_t *winner; /* of the pixels; kept from row to row in cells with one candidate */
} Space;

static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }

/* Gather from[at[lane]] for each lane; where `near`, by one shuffle. */
#define PICK(picked, from, at)                                                                                         \
    do {                                                                                                               \
        if (SHUFFLES && near) (picked) = SHUFFLE(*(const __typeof__(picked) *)(from), *(const Places *)(at));          \
        else                                                                                                           \
            for (int lane = 0; lane < LANES; lane++) (picked)[lane] = (from)[(at)[lane]];                              \
    } while (0)

/* For each of w cells the highest of its four corners, and a lower bound of the best row inside the cell. */
WIDEST static void find_bounds(const float *upper, const float *lower, int64_t w, float *restrict highest,
                               float *restrict lowest) {
    for (int64_t x = 0; x + 1 < w; x++) {
        highest[x] = larger(larger(upper[x], upper[x + 1]), larger(lower[x], lower[x + 1]));
        lowest[x] = larger(lowest[x], smaller(smaller(upper[x], upper[x + 1]), smaller(lower[x], lower[x + 1])));
    }
    highest[w - 1] = larger(upper[w - 1], lower[w - 1]);
    lowest[w - 1] = larger(lowest[w - 1], smaller(upper[w - 1], lower[w - 1]));
}

/* Whether any value of a block reaches its bound; hardly any does, so whole blocks are skipped. */
WIDEST static void find_reaching(const float *highest, const float *floor, int64_t blocks, uint8_t *reaching) {
    for (int64_t b = 0; b < blocks; b++, highest += BLOCK, floor += BLOCK) {
        int32_t some = 0;
        for (int i = 0; i < BLOCK; i++) some |= highest[i] >= floor[i];
        reaching[b] = (uint8_t)some;
    }
}

/* Set the winner of each pixel to the first candidate of its cell; the same for all rows of pixels in a row of cells. */
WIDEST static void lead(const Across *across, const Candidates *candidates, int32_t *restrict winner) {
    const int near = across->near;
    for (int64_t p = 0; p < across->width; p += LANES) {
        Places row;
        PICK(row, candidates->first + across->base[p / LANES], across->places + p);
        *(Places *)(winner + p) = row;
    }
}

WIDEST static void narrow(const int32_t *restrict winner, int64_t n, void *restrict labels, int wide) {
    if (wide)
        for (int64_t p = 0; p < n; p++) ((uint16_t *)labels)[p] = (uint16_t)winner[p];
    else
        for (int64_t p = 0; p < n; p++) ((uint8_t *)labels)[p] = (uint8_t)winner[p];
}

/* Find the winners of one row of pixels, and their probability inside the spans. The first candidates are evaluated for many
 * cells at a time, the others cell by cell. `upper` and `lower`: the normaliser at the rows of cells above and below. */
INLINE void win_row(const int near, const Across *across, float wy, const Candidates *candidates, const Spans *spans,
                    const float *upper, const float *lower, Space *space) {
    const int64_t w = across->w, *restrict base = across->base;
    const float *restrict weight = across->weight;
    const int32_t *restrict places = across->places;
    float *restrict left = space->left, *restrict step = space->step, *restrict best = space->best;
    float *restrict normal = space->normal, *restrict normal_step = space->normal_step;
    int32_t *restrict winner = space->winner;
    for (int64_t x = 0; x < w; x++) {
        left[x] = candidates->left[x] + wy * candidates->left_more[x];
        step[x] = candidates->right[x] + wy * candidates->right_more[x] - left[x];
        normal[x] = upper[x] + wy * (lower[x] - upper[x]);
    }
    normal[w] = normal[w - 1];
    for (int64_t x = 0; x < w; x++) normal_step[x] = normal[x + 1] - normal[x];
    for (const Span *span = spans->each; span < spans->each + spans->n; span++)
        for (int64_t p = span->from; p < span->to; p += LANES) {
            Eight before, more;
            PICK(before, left + base[p / LANES], places + p);
            PICK(more, step + base[p / LANES], places + p);
            *(Eight *)(best + p) = more * *(const Eight *)(weight + p) + before;
        }
    const Corners *corner = candidates->corners;
    for (int64_t i = 0; i < candidates->n_contested; i++) {
        int64_t x = candidates->contested[i], to = across->start[x + 1];
        const Corners *end = corner + candidates->count[x] - 1;
        for (int64_t p = across->start[x]; p < to; p += LANES) {
            Eight part = *(const Eight *)(weight + p), highest = step[x] * part + left[x];
            Places whose = candidates->first[x] + (Places){0};
            for (const Corners *other = corner; other < end; other++) {
                float before = other->left + wy * other->left_more;
                Eight score = (other->right + wy * other->right_more - before) * part + before;
                Places better = score > highest;
                highest = (Eight)CHOOSE(better, score, highest);
                whose = CHOOSE(better, other->row + (Places){0}, whose);
            }
            for (int64_t lane = 0, lanes = to - p < LANES ? to - p : LANES; lane < lanes; lane++) {
                best[p + lane] = highest[lane];
                winner[p + lane] = whose[lane];
            }
        }
        corner = end;
    }
    const Eight none = {0}, min_power = none - 87.0f;
    for (const Span *span = spans->each; span < spans->each + spans->n; span++)
        for (int64_t p = span->from; p < span->to; p += LANES) {
            Eight before, more;
            PICK(before, normal + base[p / LANES], places + p);
            PICK(more, normal_step + base[p / LANES], places + p);
            Eight below = *(const Eight *)(best + p) - (before + *(const Eight *)(weight + p) * more);
            below = (Eight)CHOOSE(below > min_power, below, min_power); /* NaN becomes almost nothing */
            below = (Eight)CHOOSE(below < none, below, none);
            exp_below(&below);
            *(Eight *)(best + p) = below;
        }
}

WIDEST static void win(const Across *across, float wy, const Candidates *candidates, const Spans *spans,
                       const float *upper, const float *lower, Space *space) {
    if (across->near) win_row(1, across, wy, candidates, spans, upper, lower, space);
    else win_row(0, across, wy, candidates, spans, upper, lower, space);
}

/* Add exp(score - highest) of the rows `from` to `to` to sum[i], for whole vectors of cells from i to `end`; returns the first
 * cell that is not done. */
WIDEST static int64_t add_exponentials(const float *scores, int64_t from, int64_t to, int64_t n, int64_t i, int64_t end,
                                       const float *highest, float *sum) {
    for (; i + LANES <= end; i += LANES) {
        Eight part = {0}, min_power = part - 87.0f;
        for (int64_t row = from; row < to; row++) {
            Eight below = *(const Eight *)(scores + row * n + i) - *(const Eight *)(highest + i);
            below = (Eight)CHOOSE(below > min_power, below, min_power);
            exp_below(&below);
            part += below;
        }
        *(Eight *)(sum + i) += part;
    }
    return i;
}

/* List the candidates of each cell in row y: those whose highest corner reaches the cell's floor. */
static void find_candidates(const float *scores, int64_t k, int64_t h, int64_t w, int64_t y, Candidates *candidates,
                            uint8_t *reaching) {
    int64_t below = y + 1 < h ? w : 0;
    for (int64_t x = 0; x < w; x++) candidates->floor[x] = -__builtin_inff();
    for (int64_t row = 0; row < k; row++) {
        const float *upper = scores + (row * h + y) * w;
        find_bounds(upper, upper + below, w, candidates->highest + row * w, candidates->floor);
    }
    for (int64_t x = 0; x < w; x++) {
        candidates->floor[x] -= SLACK;
        candidates->count[x] = 0;
    }
    int64_t blocks = w / BLOCK;
    for (int64_t row = 0; row < k; row++) {
        const float *highest = candidates->highest + row * w;
        find_reaching(highest, candidates->floor, blocks, reaching);
        for (int64_t x = 0; x < w; x++) {
            if (x % BLOCK == 0 && x / BLOCK < blocks && !reaching[x / BLOCK]) x += BLOCK - 1;
            else if (highest[x] >= candidates->floor[x])
                candidates->rows[x * k + candidates->count[x]++] = (int32_t)row;
        }
    }
}

/* Copy the corners of all candidates side by side, once per row of cells: a cell's scores are far apart in memory.
 * `plane`: numbers from one row of the scores to the next; `below`: from one row of cells to the next, 0 in the last one. */
static void gather_corners(const float *scores, int64_t k, int64_t plane, int64_t w, int64_t below,
                           Candidates *candidates) {
    Corners *corners = candidates->corners;
    candidates->n_contested = 0;
    for (int64_t x = 0; x < w; x++) {
        int64_t right = x + 1 < w;
        if (candidates->count[x] > 1) candidates->contested[candidates->n_contested++] = (int32_t)x;
        for (int32_t rank = 0; rank < candidates->count[x]; rank++) {
            int32_t row = candidates->rows[x * k + rank];
            const float *corner = scores + row * plane + x;
            float here = larger(corner[0], LOWEST), beside = larger(corner[right], LOWEST);
            float here_more = larger(corner[below], LOWEST) - here;
            float beside_more = larger(corner[right + below], LOWEST) - beside;
            if (rank) *corners++ = (Corners){here, beside, here_more, beside_more, row};
            else {
                candidates->first[x] = row;
                candidates->left[x] = here;
                candidates->right[x] = beside;
                candidates->left_more[x] = here_more;
                candidates->right_more[x] = beside_more;
            }
        }
    }
}

/* Adjacent pixels of a row whose votes are summed together: of cells with the same single candidate. In a contested cell each
 * pixel votes for its own winner. */
typedef struct {
    int64_t from, to;
    int64_t row; /* the candidate; or CONTESTED */
} Group;
enum { CONTESTED = -1 };

/* Group the pixels, for all rows of pixels in a row of cells; groups: room for [w]. Returns their number. */
static int64_t group_pixels(const Candidates *candidates, const int64_t *start, int64_t w, Group *groups) {
    int64_t n = 0;
    for (int64_t x = 0, next; x < w; x = next) {
        int64_t from = start[x], to = start[next = x + 1];
        if (from == to) continue;
        if (candidates->count[x] > 1) {
            groups[n++] = (Group){from, to, CONTESTED};
            continue;
        }
        for (; next < w && candidates->count[next] <= 1 && start[next + 1] - from <= SUMMED; to = start[++next])
            if (to < start[next + 1] && candidates->first[next] != candidates->first[x]) break;
        groups[n++] = (Group){from, to, candidates->first[x]};
    }
    return n;
}

/* Find where one of the first `counted` rows may win, for all rows of pixels in a row of cells; voting [w]: in which cells. */
static void find_spans(const Candidates *candidates, const int64_t *start, int64_t w, int64_t counted, Spans *spans,
                       uint8_t *voting) {
    spans->n = 0;
    for (int64_t x = 0; x < w; x++) {
        voting[x] = start[x] < start[x + 1] && (candidates->count[x] > 1 || candidates->first[x] < counted);
        if (!voting[x]) continue;
        Span span = {start[x] & -LANES, (start[x + 1] + LANES - 1) & -LANES};
        Span *last = spans->each + spans->n - 1;
        if (spans->n && span.from <= last->to) last->to = span.to;
        else spans->each[spans->n++] = span;
    }
}

/* Add each pixel's probability to the votes of its winner, in groups that may be of the first `counted` rows. */
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
    for (int64_t i = from; i < to; i++) highest[i] = LOWEST;
    for (int64_t row = 0; row < k; row++)
        for (int64_t i = from; i < to; i++) highest[i] = larger(scores[row * n + i], highest[i]);
}

/* log(sum(exp(scores))) over the K rows, scores [K, n] -> sum [n], for the cells in blocks `from` to `to`. */
static void normalise(const float *scores, int64_t k, int64_t n, int64_t from, int64_t to, float *restrict highest,
                      float *restrict sum) {
    const int64_t first = from * BLOCK, end = to * BLOCK < n ? to * BLOCK : n;
    find_highest(scores, k, n, first, end, highest);
    memset(sum + first, 0, (size_t)(end - first) * sizeof(float));
    for (int64_t row = 0; row < k; row += ROWS) { /* partial sums: thousands of small terms would get lost */
        int64_t last = row + ROWS < k ? row + ROWS : k;
        int64_t i = add_exponentials(scores, row, last, n, first, end, highest, sum);
        for (; i < end; i++) {
            float part = 0;
            for (int64_t each = row; each < last; each++) part += expf(scores[each * n + i] - highest[i]);
            sum[i] += part;
        }
    }
    for (int64_t i = first; i < end; i++) sum[i] = highest[i] + logf(sum[i]);
}

/* As `normalise`, for all blocks with cells from `first` to `last` that are not `done` yet. */
static void normalise_around(const float *scores, int64_t k, int64_t n, int64_t first, int64_t last, uint8_t *done,
                             float *highest, float *sum) {
    for (int64_t from = first / BLOCK, end = last / BLOCK + 1; from < end; from++) {
        int64_t to = from;
        while (to < end && !done[to]) done[to++] = 1;
        if (to > from) normalise(scores, k, n, from, to, highest, sum);
    }
}

/* Take n four-byte numbers from a block of memory. */
static void *take(float **at, size_t n) {
    float *first = *at;
    *at += n;
    return first;
}

/* Compute the interpolation of a row's pixels. */
static void place(Across *across, const int64_t *x_low, const float *x_weight) {
    across->near = 1;
    for (int64_t from = 0, vector = 0; from < across->width; from += LANES, vector++) {
        int64_t first = across->base[vector] = x_low[from], to = from + LANES < across->width ? from + LANES : across->width;
        for (int64_t p = from; p < to; p++) across->places[p] = (int32_t)(x_low[p] - first);
        across->near &= x_low[to - 1] - first < LANES;
    }
    memcpy(across->weight, x_weight, (size_t)across->width * sizeof(float));
    for (int64_t x = 0, p = 0; x <= across->w; x++) {
        while (p < across->width && x_low[p] < x) p++;
        across->start[x] = p;
    }
}

/* Compute labels, votes and probabilities of all pixels; without `probability`, votes of the first `counted` rows only.
 *
 * scores [K, h, w]; y_low, y_weight [H] and x_low, x_weight [W]: interpolation, `low` ascending. Outputs: labels [H, W] of 1 or
 * (`wide`) 2 bytes; probability [H, W] or NULL; votes [K], which are added to. */
int64_t lexiseg_winners_of_some(const float *scores, int64_t k, int64_t h, int64_t w, const int64_t *y_low,
                                const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                                int64_t width, void *labels, int64_t wide, float *probability, double *votes,
                                int64_t counted) {
    const size_t pixels = (size_t)width + LANES, cells = (size_t)w + LANES, all = (size_t)(h * w) + LANES;
    size_t bytes = ((size_t)w + 1 + pixels) * sizeof(int64_t) + (size_t)w * sizeof(Group); /* start, base, groups */
    bytes += (size_t)w * sizeof(Span);
    bytes += (4 * pixels + 12 * cells + (size_t)(2 * k * w) + 2 * all) * 4 + ((size_t)w / BLOCK + 1) * 2;
    bytes += (size_t)w + (size_t)(h * w) / BLOCK + 1; /* voting, done */
    /* The system maps only the part of `corners` that is written: mostly one or two candidates a cell. */
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
    Candidates candidates = {.corners = corners};
    candidates.floor = take(&at, cells);
    candidates.count = take(&at, cells);
    candidates.first = take(&at, cells);
    candidates.left = take(&at, cells);
    candidates.right = take(&at, cells);
    candidates.left_more = take(&at, cells);
    candidates.right_more = take(&at, cells);
    candidates.contested = take(&at, cells);
    candidates.highest = take(&at, (size_t)(k * w));
    candidates.rows = take(&at, (size_t)(k * w));
    float *highest = take(&at, all);
    float *normaliser = take(&at, all);
    uint8_t *voting = (uint8_t *)at, *reaching = voting + w, *done = reaching + w / BLOCK + 1;

    place(&across, x_low, x_weight);
    if (probability) counted = k;
    if (counted >= k) normalise_around(scores, k, h * w, 0, h * w - 1, done, highest, normaliser);
    int64_t row = -1, n_groups = 0; /* the row of cells whose candidates are known */
    for (int64_t y = 0; y < height; y++) {
        int64_t below = y_low[y] + 1 < h ? w : 0;
        if (y_low[y] != row) {
            find_candidates(scores, k, h, w, row = y_low[y], &candidates, reaching);
            gather_corners(scores + row * w, k, h * w, w, below, &candidates);
            n_groups = group_pixels(&candidates, across.start, w, groups);
            find_spans(&candidates, across.start, w, counted, &spans, voting);
            lead(&across, &candidates, space.winner);
            for (int64_t x = 0, next; x < w; x = next + 1) {
                for (next = x; next < w && voting[next]; next++) {} /* the next cell's values are their right corners */
                int64_t first = row * w + x, last = row * w + (next < w ? next : w - 1);
                if (next == x) continue;
                normalise_around(scores, k, h * w, first, last, done, highest, normaliser);
                normalise_around(scores, k, h * w, first + below, last + below, done, highest, normaliser);
            }
        }
        const float *normal = normaliser + row * w;
        void *here = (char *)labels + (y * width << wide);
        win(&across, y_weight[y], &candidates, &spans, normal, normal + below, &space);
        narrow(space.winner, width, here, (int)wide);
        count_votes(space.best, space.winner, groups, n_groups, counted, votes);
        if (probability) memcpy(probability + y * width, space.best, (size_t)width * sizeof(float));
    }
    free(room);
    free(corners);
    return 0;
}
