/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * The maps of a group lie beside each other at every pixel, so that a neighbour is whole vectors, whichever it is, and
 * the weights of a block of pixels lie in the order in which they are needed. What takes the time is reading: a picture
 * is gone through in panels, from top to bottom, so that what a row of one needs of the rows around it stays in the
 * cache, and the second of two iterations follows the first as closely as it may, for then the weights are there, too.
 * Panels of the second lie further to the left, or it would need what the first has not done. */
#include "pamr_layout.h"

#include <math.h>

enum { PANEL = 192, AHEAD = 2 };   /* pixels; blocks from weights that are read to those that are asked for */
enum { STEPS = 2, TOGETHER = 24 }; /* iterations, and maps, that use weights while they are near */
enum { SIZES = 4, BETWEEN = 17 * LINE }; /* of groups; numbers from a plane to the next */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

#pragma GCC optimize("fp-contract=fast")

typedef void Mix(const float *, int64_t, const float *, const int64_t *, int64_t, float *);
typedef void Weigh(const float *, int64_t, int64_t, int64_t, const int64_t *, int64_t, float, float *);
typedef struct {
    Weigh *weigh;
    struct {
        int64_t channels;
        Mix *mix;
    } of[SIZES]; /* the largest first, one at last */
} Rows;

#define LANES 4
#define NAMED(name) name##_anywhere
#define ENTRY
#include "pamr_rows.h"

#if MANY_PROCESSORS
#define LANES 8
#define NAMED(name) name##_of_eight
#define ENTRY EIGHT_WIDE
#include "pamr_rows.h"

#define LANES 16
#define NAMED(name) name##_of_sixteen
#define ENTRY SIXTEEN_WIDE
#include "pamr_rows.h"
#endif

static Rows rows(void) {
#if MANY_PROCESSORS
    if (lanes() == 16)
        return (Rows){weigh_of_sixteen,
                      {{16, mix_16_of_sixteen}, {8, mix_8_of_sixteen}, {4, mix_4_of_sixteen}, {1, mix_1_of_sixteen}}};
    if (lanes() == 8) return (Rows){weigh_of_eight, {{8, mix_8_of_eight}, {4, mix_4_of_eight}, {1, mix_1_of_eight}}};
#endif
    return (Rows){weigh_anywhere, {{4, mix_4_anywhere}, {1, mix_1_anywhere}}};
}

/* Maps that lie beside each other, and beside zeros where they are fewer than `channels`: rows of `row` numbers, two
 * planes to take turns. */
typedef struct {
    int64_t maps, channels, row;
    Mix *mix;
    float *plane[2];
    int64_t *shift; /* [h, n] */
} Group;

/* The next groups of k maps, to be refined together: of the largest size of which three quarters are used. */
static int64_t next_groups(const Rows *rows, Shape s, int64_t k, Group *groups) {
    int64_t n = 0, channels = 0;
    for (int size = 0; k; n++) {
        while (rows->of[size].channels * 3 > k * 4) size++;
        channels += rows->of[size].channels;
        if (channels > TOGETHER) break;
        int64_t c = rows->of[size].channels, maps = smaller(c, k);
        groups[n] = (Group){maps, c, row_of(s, c), rows->of[size].mix, {0, 0}, 0};
        k -= maps;
    }
    return n;
}

/* What all maps of a picture share. */
typedef struct {
    Shape s;
    Around around;
    Weigh *weigh; /* until weights are there */
    const float *image; /* [c, h, row], amid its margins */
    int64_t c, row, plane;
    const int64_t *shift; /* [h, n] */
    float samples, *weights; /* [h, whole / BLOCK, n, BLOCK] */
} Picture;

static size_t bytes_of(const Group *g, const Picture *p) {
    size_t numbers = (size_t)(2 * p->s.h * g->row + BETWEEN + 2 * LINE);
    return numbers * sizeof(float) + (size_t)(p->s.h * p->around.n) * sizeof(int64_t);
}

/* Lays groups and their maps out in memory from `room` on. */
static void lay_out(Group *groups, int64_t n, const Picture *p, const float *maps, char *room) {
    for (Group *g = groups; g < groups + n; room += bytes_of(g, p), g++) {
        g->shift = (int64_t *)room;
        g->plane[0] = aligned(g->shift + p->s.h * p->around.n);
        g->plane[1] = g->plane[0] + p->s.h * g->row + BETWEEN;
        lead(p->s, p->around, g->row, g->channels, g->shift);
        spread(maps, p->s, g->maps, g->channels, g->row, g->plane[0]);
        maps += g->maps * p->s.h * p->s.w;
    }
}

/* An iteration at a row's pixels from x to `end`. */
static void step(const Picture *p, const Group *groups, int64_t n_groups, int64_t y, int64_t x, int64_t end,
                 int64_t round) {
    int64_t n = p->around.n, blocks = (end - x) / BLOCK;
    float *weights = p->weights + (y * p->s.whole + x) * n;
    if (p->weigh && !round) {
        const float *pixels = p->image + y * p->row + p->s.margin + x;
        p->weigh(pixels, blocks, p->c, p->plane, p->shift + y * n, n, p->samples, weights);
    }
    for (const Group *g = groups; g < groups + n_groups; g++) {
        int64_t row = y * g->row, at = row + (p->s.margin + x) * g->channels;
        float *to = g->plane[(round + 1) % 2];
        g->mix(g->plane[round % 2] + at, blocks, weights, g->shift + y * n, n, to + at);
        if (!x) fill_left(p->s, g->channels, to + row);
        if (end == p->s.whole) fill_right(p->s, g->channels, to + row);
    }
}

/* So many iterations in step, from `round` on. */
static void advance(const Picture *p, const Group *groups, int64_t n, int64_t round, int64_t steps) {
    int64_t h = p->s.h, whole = p->s.whole, reach = p->around.reach;
    for (int64_t x = 0; x < whole; x += PANEL)
        for (int64_t front = 0; front < h + (steps - 1) * reach; front++)
            for (int64_t t = 0; t < steps; t++) {
                int64_t y = front - t * reach, left = x - t * p->s.margin, right = left + PANEL;
                if (x + PANEL >= whole) right = whole;
                if (left < 0) left = 0;
                if (y >= 0 && y < h && left < right) step(p, groups, n, y, left, right, round + t);
            }
}

/* Maps [k, h, w] refined by an image [c, h, w]; down and across [n]: how far the neighbours are, `reach` at most;
 * `samples`: neighbours, and pixels themselves, that a deviation is taken of. */
API int64_t lexiseg_pamr(const float *maps, float *refined, int64_t k, int64_t h, int64_t w, const float *image,
                         int64_t c, const int64_t *down, const int64_t *across, int64_t n, int64_t reach,
                         int64_t samples, int64_t iterations) {
    int64_t margin = up(reach, BLOCK), whole = up(w, BLOCK);
    Shape s = {h, w, margin, whole, whole + 2 * margin};
    Around around = {down, across, n, reach};
    Picture p = {s, around, NULL, NULL, c, row_of(s, 1), h * row_of(s, 1), NULL, (float)samples, NULL};
    Rows of = rows();
    Group groups[TOGETHER];
    size_t most = 0;
    for (int64_t done = 0; done < k;) {
        size_t bytes = 0;
        int64_t count = next_groups(&of, s, k - done, groups);
        for (const Group *g = groups; g < groups + count; g++) bytes += bytes_of(g, &p), done += g->maps;
        if (bytes > most) most = bytes;
    }
    size_t shifts = (size_t)(h * n) * sizeof(int64_t), pixels = (size_t)(c * p.plane) * sizeof(float);
    Room *room = room_of(3 * LINE * sizeof(float) + shifts + pixels + (size_t)(h * n * whole) * sizeof(float) + most);
    if (!room) return OUT_OF_MEMORY;
    int64_t *shift = (int64_t *)room->at;
    float *colours = aligned(room->at + shifts);
    p.weights = aligned(colours + c * p.plane);
    for (int64_t i = 0; i < c; i++) spread(image + i * h * w, s, 1, 1, p.row, colours + i * p.plane);
    lead(s, around, p.row, 1, shift);
    p.image = colours, p.shift = shift, p.weigh = of.weigh;
    for (int64_t count; k; p.weigh = NULL) {
        count = next_groups(&of, s, k, groups);
        lay_out(groups, count, &p, maps, (char *)(p.weights + h * n * whole));
        for (int64_t round = 0; round < iterations; round += STEPS)
            advance(&p, groups, count, round, smaller(STEPS, iterations - round));
        for (const Group *g = groups; g < groups + count; g++) {
            gather(g->plane[iterations % 2], s, g->maps, g->channels, g->row, refined);
            maps += g->maps * h * w, refined += g->maps * h * w, k -= g->maps;
        }
    }
    leave(room);
    return 0;
}
