/* An object's own colours against those around it: `lexiseg_model.methods.tiny.own_colours`, with the same logits to
 * 1e-4. Cells that lie around an object are a rectangle, so no other cell is looked at. */
#include "kernel.h"

#include <math.h>

#include "power.h"

/* Cut off on both sides. */
static inline float between(float number, float bound) { return number > bound ? bound : number < -bound ? -bound : number; }

/* The first cell and one past the last whose centres lie between `low` and `high`, in cells. */
static void cells_between(float low, float high, int64_t n, int64_t *first, int64_t *end) {
    float from = floorf(low - 0.5f) + 1, to = ceilf(high - 0.5f);
    *first = from < 0 ? 0 : from > (float)n ? n : (int64_t)from;
    *end = to > (float)n ? n : to < (float)*first ? *first : (int64_t)to;
}

typedef struct {
    int64_t left, top, right, bottom; /* the last two are one past */
} Cells;

static Cells cells_within(const float *box, float beyond, int64_t h, int64_t w) {
    float across = beyond * (box[2] - box[0]), down = beyond * (box[3] - box[1]), least = beyond > 0 ? 1 : 0;
    if (across < least) across = least;
    if (down < least) down = least;
    Cells cells;
    cells_between(box[0] - across, box[2] + across, w, &cells.left, &cells.right);
    cells_between(box[1] - down, box[3] + down, h, &cells.top, &cells.bottom);
    return cells;
}

/* A box around what a mask holds, all where that is nothing; in cells. */
static void outer_box(const float *mask, int64_t h, int64_t w, float *box) {
    int64_t left = w, right = 0, top = h, bottom = 0;
    for (int64_t y = 0; y < h; y++) {
        const float *row = mask + y * w;
        int64_t first = 0, end = w;
        while (first < w && !(row[first] > 0)) first++;
        if (first == w) continue;
        while (!(row[end - 1] > 0)) end--;
        left = first < left ? first : left, right = end > right ? end : right;
        top = y < top ? y : top, bottom = y + 1;
    }
    if (!bottom) left = top = 0, right = w, bottom = h;
    box[0] = (float)left, box[1] = (float)top, box[2] = (float)right, box[3] = (float)bottom;
}

/* How many of `count` parts of each cell of a row a mask holds: its probability, of logits cut at `certain`. */
WIDEST static void count_held(const float *row, int64_t n, float certain, float count, int32_t *held) {
    for (int64_t x = 0; x < n; x++) {
        float logit = between(row[x], certain);
        float small = power_of_e(logit > 0 ? -logit : logit), share = 1 / (1 + small);
        float parts = (logit > 0 ? share : small * share) * count;
        held[x] = (int32_t)((parts + 12582912.0f) - 12582912.0f);
    }
}

/* Parts of the cells around an object, by colour: those of the object, inside of its box, and behind them the others.
 * Numbers of four bytes hold the parts of some 8 million cells. */
static void count_colours(const float *mask, int64_t w, const Cells cells[2], const int32_t *colour, float certain,
                          int32_t parts, int64_t colours, int32_t *held, int32_t *counts) {
    Cells around = cells[0], inside = cells[1];
    memset(counts, 0, (size_t)(2 * colours) * sizeof(int32_t));
    for (int64_t y = around.top; y < around.bottom; y++) {
        count_held(mask + y * w + around.left, around.right - around.left, certain, (float)parts, held);
        for (int64_t x = around.left; x < around.right; x++) {
            int beyond = y < inside.top || y >= inside.bottom || x < inside.left || x >= inside.right;
            int32_t of_object = beyond ? 0 : held[x - around.left];
            counts[colour[y * w + x]] += of_object;
            counts[colours + colour[y * w + x]] += parts - of_object;
        }
    }
}

/* A quarter of each bin goes to either neighbour along an axis whose bins lie `apart` numbers apart; none leaves. */
WIDEST static void blur(const float *from, int64_t bins, int64_t apart, int64_t lines, float *restrict to) {
    for (int64_t line = 0; line < lines; line++, from += bins * apart, to += bins * apart)
        for (int64_t bin = 0; bin < bins; bin++) {
            const float *here = from + bin * apart, *low = bin ? here - apart : here;
            const float *high = bin < bins - 1 ? here + apart : here;
            for (int64_t i = 0; i < apart; i++) to[bin * apart + i] = 0.5f * here[i] + 0.25f * (low[i] + high[i]);
        }
}

/* Shares [bins^3] of counts, blurred along all three axes, and `floor` more. `room` [bins^3]. */
WIDEST static void shares_of(const int32_t *counts, int64_t bins, float floor, float *room, float *shares) {
    int64_t n = bins * bins * bins, total = 0;
    for (int64_t i = 0; i < n; i++) total += counts[i];
    float sum = total < 1 ? 1 : (float)total;
    for (int64_t i = 0; i < n; i++) shares[i] = (float)counts[i] / sum;
    blur(shares, bins, bins * bins, 1, room);
    blur(room, bins, bins, bins, shares);
    blur(shares, bins, 1, bins * bins, room);
    for (int64_t i = 0; i < n; i++) shares[i] = room[i] + floor;
}

/* Logits of n cells, cut at `certain`, with what their colour says of them; `ratio` is NULL where it says nothing. */
WIDEST static void weigh(const float *row, const int32_t *colour, const float *ratio, int64_t n, float certain,
                         float bound, float *restrict to) {
    if (ratio)
        for (int64_t x = 0; x < n; x++) to[x] = between(between(row[x], certain) + ratio[colour[x]], bound);
    else
        for (int64_t x = 0; x < n; x++) to[x] = between(between(row[x], certain), bound);
}

/* masks, seen [n, h, w] logits; boxes [n, 4] x0, y0, x1, y1 in cells, where there is one, has_box [n]; colour [h * w] is
 * the bin of each, below bins^3. `ring`, `weight` and `bound` are the rule's, `certain`, `parts`, `most` and `floor`
 * those of own_colours.py. */
API int64_t lexiseg_own_colours(const float *masks, int64_t n, int64_t h, int64_t w, const float *boxes,
                                const uint8_t *has_box, const int32_t *colour, int64_t bins, double ring, double weight,
                                double bound, double certain, double parts, double most, double floor, float *seen) {
    int64_t all = bins * bins * bins;
    int32_t *counts = malloc((size_t)(2 * all) * sizeof(int32_t) + (size_t)(3 * all) * sizeof(float) +
                             (size_t)w * sizeof(int32_t));
    if (!counts) return OUT_OF_MEMORY;
    float *ratio = (float *)(counts + 2 * all), *of_left = ratio + all, *room = of_left + all;
    int32_t *held = (int32_t *)(room + all);
    float top = (float)most, limit = (float)bound, by = (float)weight;
    for (int64_t mask = 0; mask < n; mask++, masks += h * w, seen += h * w) {
        const float *given = boxes + 4 * mask;
        float own[4];
        if (!has_box[mask]) outer_box(masks, h, w, own);
        Cells around = cells_within(has_box[mask] ? given : own, (float)ring, h, w);
        Cells inside = has_box[mask] ? cells_within(given, 0, h, w) : (Cells){0, 0, w, h};
        count_colours(masks, w, (Cells[]){around, inside}, colour, (float)certain, (int32_t)parts, all, held, counts);
        shares_of(counts, bins, (float)floor, room, ratio);
        shares_of(counts + all, bins, (float)floor, room, of_left);
        for (int64_t i = 0; i < all; i++) /* of colours that a cell around the object has, and no other is read */
            if (counts[i] | counts[all + i]) ratio[i] = by * between(logf(ratio[i] / of_left[i]), top);
        for (int64_t y = 0; y < h; y++) {
            int near = y >= around.top && y < around.bottom;
            int64_t left = near ? around.left : w, right = near ? around.right : w, row = y * w;
            weigh(masks + row, NULL, NULL, left, (float)certain, limit, seen + row);
            weigh(masks + row + left, colour + row + left, ratio, right - left, (float)certain, limit, seen + row + left);
            weigh(masks + row + right, NULL, NULL, w - right, (float)certain, limit, seen + row + right);
        }
    }
    free(counts);
    return 0;
}
