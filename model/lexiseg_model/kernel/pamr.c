/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * A picture is gone through in panels, from top to bottom: what a row of one needs of the rows around it then stays in
 * the cache. The weights lie in the order in which they are needed, for from one iteration to the next they do not. */
#include "kernel.h"

#include <math.h>

enum { BLOCK = 32, PANEL = 192, MAPS_AT_ONCE = 24, LINE = 16 }; /* pixels; pixels; maps; numbers of a cache line */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

#pragma GCC optimize("fp-contract=fast")

typedef void Mix(const float *, int64_t, int64_t, const float *, int64_t, const int64_t *, int64_t, float *);
typedef void Weigh(const float *, int64_t, int64_t, const int64_t *, int64_t, float, int64_t, float *);
typedef struct {
    Mix *mix;
    Weigh *weigh;
} Rows;

#define LANES 8
#define VECTORS 4
#define NAMED(name) name##_anywhere
#define ENTRY
#include "pamr_rows.h"

#if MANY_PROCESSORS
#define LANES 8
#define VECTORS 4
#define NAMED(name) name##_of_eight
#define ENTRY EIGHT_WIDE
#include "pamr_rows.h"

#define LANES 16
#define VECTORS 2
#define NAMED(name) name##_of_sixteen
#define ENTRY SIXTEEN_WIDE
#include "pamr_rows.h"

static Rows rows(void) {
    switch (lanes()) {
    case 16: return (Rows){mix_of_sixteen, weigh_of_sixteen};
    case 8: return (Rows){mix_of_eight, weigh_of_eight};
    default: return (Rows){mix_anywhere, weigh_anywhere};
    }
}
#else
static Rows rows(void) { return (Rows){mix_anywhere, weigh_anywhere}; }
#endif

/* A picture of h x w amid its margins: rows of `wide` numbers, of which `whole` are pixels or fill up the last block,
 * after `margin`; planes are `plane` numbers apart. */
typedef struct {
    int64_t h, w, margin, whole, wide, plane;
} Shape;

static int64_t up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

static Shape shape_of(int64_t h, int64_t w, int64_t reach) {
    int64_t margin = up(reach, LINE), whole = up(w, BLOCK), wide = whole + 2 * margin;
    /* Beyond whole kilobytes, or the same row of several planes would meet in the same corner of the cache. */
    return (Shape){h, w, margin, whole, wide, up(h * wide, 1024) + 272};
}

/* Repeats the outermost pixels of a row to its left, and to its right. */
static inline void fill_left(Shape s, float *row) {
    for (int64_t x = 0; x < s.margin; x++) row[x] = row[s.margin];
}
static inline void fill_right(Shape s, float *row) {
    for (int64_t x = s.margin + s.w; x < s.wide; x++) row[x] = row[s.margin + s.w - 1];
}

/* Planes [k, h, w] amid their margins. */
static void spread(const float *planes, int64_t k, Shape s, float *to) {
    for (int64_t m = 0; m < k; m++, to += s.plane)
        for (int64_t y = 0; y < s.h; y++) {
            float *row = to + y * s.wide;
            memcpy(row + s.margin, planes + (m * s.h + y) * s.w, (size_t)s.w * sizeof(float));
            fill_left(s, row);
            fill_right(s, row);
        }
}

/* What leads from a pixel of row y to its neighbours: above the first row and below the last there are these again. */
static void neighbours(int64_t y, Shape s, const int64_t *down, const int64_t *across, int64_t n, int64_t *shift) {
    for (int64_t i = 0; i < n; i++) {
        int64_t at = y + down[i];
        shift[i] = ((at < 0 ? 0 : at < s.h ? at : s.h - 1) - y) * s.wide + across[i];
    }
}

/* Maps [k, h, w], refined in place by an image [c, h, w]; down and across [n]: how far the neighbours are, `reach` at
 * most; `samples`: neighbours, and pixels themselves, that a deviation is taken of. */
API int64_t lexiseg_pamr(float *maps, int64_t k, int64_t h, int64_t w, const float *image, int64_t c,
                         const int64_t *down, const int64_t *across, int64_t n, int64_t reach, int64_t samples,
                         int64_t iterations) {
    Shape s = shape_of(h, w, reach);
    int64_t groups = (k + MAPS_AT_ONCE - 1) / MAPS_AT_ONCE, most = groups ? up((k + groups - 1) / groups, 4) : 0;
    size_t numbers = (size_t)((2 * most + c) * s.plane + h * n * s.whole + LINE);
    int64_t *room = malloc((size_t)(h * n) * sizeof(int64_t) + numbers * sizeof(float));
    if (!room) return OUT_OF_MEMORY;
    float *colours = (float *)(((uintptr_t)(room + h * n) + 63) & ~(uintptr_t)63);
    float *from = colours + c * s.plane, *to = from + most * s.plane, *weights = to + most * s.plane;
    for (int64_t y = 0; y < h; y++) neighbours(y, s, down, across, n, room + y * n);
    spread(image, c, s, colours);
    Rows of = rows();
    for (int64_t done = 0, group; done < k; done += group, maps += group * h * w) {
        group = k - done < most ? k - done : most;
        spread(maps, group, s, from);
        for (int64_t round = 0; round < iterations; round++) {
            for (int64_t x = 0; x < s.whole; x += PANEL)
                for (int64_t y = 0; y < h; y++) {
                    int64_t at = y * s.wide + s.margin + x, panel = s.whole - x < PANEL ? s.whole - x : PANEL;
                    const int64_t *shift = room + y * n;
                    float *weight = weights + n * (x * h + y * panel); /* [n, panel] */
                    if (!done && !round) of.weigh(colours + at, c, s.plane, shift, n, (float)samples, panel, weight);
                    of.mix(from + at, group, s.plane, weight, panel, shift, n, to + at);
                    for (int64_t m = 0; m < group && !x; m++) fill_left(s, to + m * s.plane + y * s.wide);
                    for (int64_t m = 0; m < group && x + panel == s.whole; m++)
                        fill_right(s, to + m * s.plane + y * s.wide);
                }
            float *other = from;
            from = to;
            to = other;
        }
        for (int64_t m = 0; m < group; m++)
            for (int64_t y = 0; y < h; y++)
                memcpy(maps + (m * h + y) * w, from + m * s.plane + y * s.wide + s.margin, (size_t)w * sizeof(float));
    }
    free(room);
    return 0;
}
