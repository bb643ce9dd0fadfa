/* The steps of winners.c for one width of vectors. PICK(from, places): of the numbers `from` on those at the places, a
 * vector of them. PUT(to, vector, mine): writes those of its numbers for which `mine` is not 0, and reads nothing.
 * REACHED(bits, one, other): LANES bits, which of the numbers at `one` are not below those at `other`. */
#include "vectors.h"

/* exp(x) for x in -87..0, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
INLINE void NAMED(exp_below)(FLOATS *number) {
    FLOATS x = *number;
    WHOLES whole = __builtin_convertvector(x * 1.44269504088896341f - 0.5f, WHOLES); /* to the nearest below 0 */
    FLOATS n = __builtin_convertvector(whole, FLOATS);
    FLOATS rest = x - n * 0.693359375f - n * -2.12194440e-4f;
    FLOATS y = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * rest + 8.3334519073e-3f;
    y = y * rest + 4.1665795894e-2f;
    y = y * rest + 1.6666665459e-1f;
    y = y * rest + 5.0000001201e-1f;
    *number = (y * (rest * rest) + rest + 1.0f) * (FLOATS)((whole + 127) << 23);
}

/* Of each of w cells the highest of its four corners, and how much the best row of all never falls below. */
ENTRY static void NAMED(bounds)(const float *upper, const float *lower, int64_t w, float *restrict highest,
                                float *restrict lowest) {
    for (int64_t x = 0; x + 1 < w; x++) {
        highest[x] = larger(larger(upper[x], upper[x + 1]), larger(lower[x], lower[x + 1]));
        lowest[x] = larger(lowest[x], smaller(smaller(upper[x], upper[x + 1]), smaller(lower[x], lower[x + 1])));
    }
    highest[w - 1] = larger(upper[w - 1], lower[w - 1]);
    lowest[w - 1] = larger(lowest[w - 1], smaller(upper[w - 1], lower[w - 1]));
}

/* Which of BLOCK values reach their bounds, a bit for each: almost never any, so it is asked for all of them at once. */
ENTRY static void NAMED(reach)(const float *highest, const float *least, int64_t blocks, uint16_t *which) {
    for (int64_t b = 0; b < blocks; b++) {
        uint32_t all = 0;
        for (int i = 0; i < BLOCK; i += LANES) {
            uint32_t some = 0;
            REACHED(some, highest + b * BLOCK + i, least + b * BLOCK + i);
            all |= some << i;
        }
        which[b] = (uint16_t)all;
    }
}

ENTRY static void NAMED(narrow)(const int32_t *restrict winner, int64_t n, void *restrict labels, int wide) {
    if (wide)
        for (int64_t p = 0; p < n; p++) ((uint16_t *)labels)[p] = (uint16_t)winner[p];
    else
        for (int64_t p = 0; p < n; p++) ((uint8_t *)labels)[p] = (uint8_t)winner[p];
}

/* Of each pixel the first candidate of its cell: the same for all rows of pixels in a row of cells. */
ENTRY static void NAMED(lead)(const Across *across, const Candidates *found, int32_t *restrict winner) {
    for (int64_t p = 0; p < across->width; p += LANES) {
        WHOLES row;
        PICK(row, found->first + across->base[p / LANES], *(const WHOLES *)(across->places + p));
        *(WHOLES *)(winner + p) = row;
    }
}

/* One row of pixels: who wins each, as `labels`, and the probability of those in spans. Of a cell the first candidate,
 * who leads, is compared for many cells at a time, those behind it cell by cell. upper and lower: the normaliser around. */
ENTRY static void NAMED(win)(const Across *across, float wy, const Candidates *found, const Spans *spans,
                             const float *upper, const float *lower, Space *space, void *labels, int wide) {
    const int64_t w = across->w, *restrict base = across->base;
    const float *restrict weight = across->weight;
    const int32_t *restrict places = across->places;
    float *restrict left = space->left, *restrict step = space->step, *restrict best = space->best;
    float *restrict normal = space->normal, *restrict normal_step = space->normal_step;
    int32_t *restrict winner = space->winner;
    for (int64_t x = 0; x < w; x += LANES) {
        FLOATS before = *(const FLOATS *)(found->left + x) + wy * *(const FLOATS *)(found->left_more + x);
        FLOATS after = *(const FLOATS *)(found->right + x) + wy * *(const FLOATS *)(found->right_more + x);
        FLOATS above = *(const FLOATS *)(upper + x), below = *(const FLOATS *)(lower + x);
        *(FLOATS *)(left + x) = before;
        *(FLOATS *)(step + x) = after - before;
        *(FLOATS *)(normal + x) = above + wy * (below - above);
    }
    normal[w] = normal[w - 1];
    for (int64_t x = 0; x < w; x += LANES)
        *(FLOATS *)(normal_step + x) = *(const FLOATS *)(normal + x + 1) - *(const FLOATS *)(normal + x);
    for (const Span *span = spans->each; span < spans->each + spans->n; span++)
        for (int64_t p = span->from; p < span->to; p += LANES) {
            int64_t cell = base[p / LANES];
            WHOLES place = *(const WHOLES *)(places + p);
            FLOATS before, more;
            PICK(before, left + cell, place);
            PICK(more, step + cell, place);
            *(FLOATS *)(best + p) = more * *(const FLOATS *)(weight + p) + before;
        }
    const FLOATS none = {0}, least = none - 87.0f;
    WHOLES lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    const Corners *corner = found->corners;
    for (int64_t i = 0; i < found->n_contested; i++) {
        int64_t x = found->contested[i], to = across->start[x + 1];
        const Corners *end = corner + found->count[x] - 1;
        for (int64_t p = across->start[x]; p < to; p += LANES) {
            FLOATS part = *(const FLOATS *)(weight + p), highest = step[x] * part + left[x];
            WHOLES whose = found->first[x] + (WHOLES){0};
            for (const Corners *other = corner; other < end; other++) {
                float before = other->left + wy * other->left_more;
                FLOATS score = (other->right + wy * other->right_more - before) * part + before;
                WHOLES better = score > highest;
                highest = (FLOATS)(((WHOLES)score & better) | ((WHOLES)highest & ~better));
                whose = (other->row & better) | (whose & ~better);
            }
            WHOLES mine = lane < (int32_t)(to - p);
            PUT(best + p, highest, mine);
            PUT((float *)winner + p, (FLOATS)whose, mine);
        }
        corner = end;
    }
    for (const Span *span = spans->each; span < spans->each + spans->n; span++)
        for (int64_t p = span->from; p < span->to; p += LANES) {
            int64_t cell = base[p / LANES];
            WHOLES place = *(const WHOLES *)(places + p);
            FLOATS before, more;
            PICK(before, normal + cell, place);
            PICK(more, normal_step + cell, place);
            FLOATS below = *(const FLOATS *)(best + p) - (before + *(const FLOATS *)(weight + p) * more);
            below = LARGER(below, least); /* what is no number, too, becomes almost nothing */
            below = (FLOATS)(((WHOLES)below & (below < none)) | ((WHOLES)none & ~(below < none)));
            NAMED(exp_below)(&below);
            *(FLOATS *)(best + p) = below;
        }
    NAMED(narrow)(winner, across->width, labels, wide);
}

/* Adds to sum[i] the exponentials of what rows `from` to `to` are below the highest, for cells from i on as long as there
 * are LANES of them before the end; returns where that is. */
ENTRY static int64_t NAMED(add_exponentials)(const float *scores, int64_t from, int64_t to, int64_t n, int64_t i,
                                             int64_t end, const float *highest, float *sum) {
    for (; i + LANES <= end; i += LANES) {
        FLOATS part = {0}, least = part - 87.0f;
        for (int64_t row = from; row < to; row++) {
            FLOATS below = *(const FLOATS *)(scores + row * n + i) - *(const FLOATS *)(highest + i);
            below = LARGER(below, least);
            NAMED(exp_below)(&below);
            part += below;
        }
        *(FLOATS *)(sum + i) += part;
    }
    return i;
}
#undef LANES
#undef NAMED
#undef ENTRY
#undef PICK
#undef PUT
#undef REACHED
