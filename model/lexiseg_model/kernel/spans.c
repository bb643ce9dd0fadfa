/* Cut the upsampled logits of a mask at 0 into runs: `lexiseg_model.masks.upsample.cut`, with the same rounding.
 *
 * A *knot* is a low-resolution row: between two knots a column of pixels is linear, so a binary search finds where it crosses
 * 0. */
#include "kernel.h"

/* Values [n] of one column of pixels at its knots, and whether they are inside the mask. */
WIDEST static void mix(const float *left, const float *right, float weight, int64_t n, float *restrict mixed,
                       uint8_t *restrict inside) {
    for (int64_t i = 0; i < n; i++) {
        mixed[i] = (right[i] - left[i]) * weight + left[i];
        inside[i] = mixed[i] >= 0;
    }
}

/* The first pixel in low..high after the crossing of 0 between two knots. */
static inline int64_t crossing(float upper, float step, const float *weight, int64_t low, int64_t high) {
    int rising = step > 0;
    while (low < high) {
        int64_t middle = (low + high) >> 1;
        if ((upper + weight[middle] * step >= 0) == rising)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The first and the last knot of a column that is inside the mask; `knots` and -1 where there is none. */
static void reach(const float *column, int64_t knots, int64_t *first, int64_t *last) {
    int64_t k = 0, end = knots - 1;
    while (k < knots && !(column[k] >= 0)) k++;
    if (k == knots) end = -1;
    else
        while (!(column[end] >= 0)) end--;
    *first = k, *last = end;
}

/* Find where runs of the mask begin and end, alternately, as x * H + y; returns the number of these places.
 *
 * logits [h, w]; y_low, y_weight [H]; x_low, x_weight [W]; places: room for W * (h + 2) + 2 numbers. */
API int64_t lexiseg_cut(const float *logits, int64_t h, int64_t w, const int64_t *y_low, const float *y_weight,
                        int64_t height, const int64_t *x_low, const float *x_weight, int64_t width, int64_t *places) {
    int64_t knots = h + 1; /* the last row is repeated, so that every pixel lies between two */
    int64_t *start = malloc((size_t)(knots + 1 + 2 * (w + 1)) * sizeof(int64_t) +
                            (size_t)((w + 2) * knots) * sizeof(float) + (size_t)knots);
    if (!start) return OUT_OF_MEMORY;
    int64_t *first = start + knots + 1, *last = first + w + 1;
    float *columns = (float *)(last + w + 1); /* [w + 1, knots], the logits column by column */
    float *mixed = columns + (w + 1) * knots;
    uint8_t *inside = (uint8_t *)(mixed + knots);
    for (int64_t k = 0, p = 0; k <= knots; k++) { /* first pixel below each knot */
        while (p < height && y_low[p] < k) p++;
        start[k] = p;
    }
    for (int64_t x = 0; x <= w; x++) {
        for (int64_t k = 0; k < knots; k++)
            columns[x * knots + k] = logits[(k < h ? k : h - 1) * w + (x < w ? x : w - 1)];
        reach(columns + x * knots, knots, first + x, last + x);
    }
    int64_t n = 0;
    for (int64_t x = 0; x < width; x++) {
        int64_t low = x_low[x];
        /* Pixels between two negative knots are outside: only the knots that are inside matter, and one on either side. */
        int64_t top = first[low] < first[low + 1] ? first[low] : first[low + 1];
        int64_t bottom = last[low] > last[low + 1] ? last[low] : last[low + 1];
        int64_t from = top > 0 ? top - 1 : 0, end = bottom + 2 < knots ? bottom + 2 : knots;
        if (bottom < 0) continue;
        const float *left = columns + low * knots;
        mix(left + from, left + knots + from, x_weight[x], end - from, mixed + from, inside + from);
        int64_t base = x * height;
        uint8_t before = 0;
        for (int64_t k = top; k <= bottom + 1; k++) {
            for (uint64_t eight; k + 8 <= end; k += 8) { /* nearly everywhere nothing changes */
                memcpy(&eight, inside + k, 8);
                if (eight != before * 0x0101010101010101ull) break;
            }
            uint8_t here = k < end ? inside[k] : 0;
            if (here == before) continue;
            before = here;
            int64_t y = start[k];
            if (k > 0 && k < knots) y = crossing(mixed[k - 1], mixed[k] - mixed[k - 1], y_weight, start[k - 1], start[k]);
            /* An end and a beginning at the same place cancel: no pixel lies between them, or the run continues here. */
            if (n && places[n - 1] == base + y)
                n--;
            else
                places[n++] = base + y;
        }
    }
    free(start);
    return n;
}
