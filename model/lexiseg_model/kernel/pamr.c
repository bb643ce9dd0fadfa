/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * The maps of a group lie beside each other by fours of pixels (`pamr_layout.h`), and the weights of a block of pixels
 * by dilations, in the order in which they are needed. What takes the time is reading: a picture is gone through in
 * panels, from top to bottom, so that what a row of one needs of the rows around it stays in the cache. While maps and
 * weights are small, the second of two iterations follows the first as closely as it may, for then the weights are there,
 * too; panels of the second lie further to the left, or it would need what the first has not done. Maps that are large go
 * past the caches, where they would be read before they are written, and are asked for a row before they are needed. */
#include "pamr_layout.h"
#include "pamr_room.h"

#include <math.h>

/* Pixels of a panel: of some maps; of few, which take little room; where maps go past the caches, and weights come from
 * memory. */
enum { PANEL = 192, WIDE = 512, NARROW = 128 };
enum { OF_BLOCK = EIGHT * BLOCK }; /* weights of a block at a dilation */
enum { FEW = 8 };   /* maps, beside which weights are nearly all that is read */
enum { AHEAD = 2 }; /* blocks from weights that are read to those that are asked for */
/* Iterations that use weights while they are near, of few maps where weights come from memory, and maps. */
enum { STEPS = 2, MANY_STEPS = 5, TOGETHER = 24 };
enum { SIZES = 10, BETWEEN = 17 * LINE }; /* of groups; numbers from a plane to the next */
static const size_t NEAR_BY = 24 << 20; /* bytes that the third cache may keep from one iteration to the next */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

#pragma GCC optimize("fp-contract=fast")

/* How many numbers the weights of a block of pixels are before those of the next, of a dilation before the next's, and of
 * a row. */
typedef struct {
    int64_t block, dilation, row;
} Strides;

/* What a row of a panel asks for: the next row's weights, and of the next row of maps what is to the right; and whether
 * what it makes goes past the caches. */
typedef struct {
    const float *weights, *maps;
    int64_t left; /* blocks of the panel's row behind these */
    int past;
} Ahead;
typedef void Mix(const float *, int64_t, const float *, Strides, const int64_t *, int64_t, const Ahead *, float *);
typedef void Weigh(const float *, int64_t, int64_t, int64_t, const int64_t *, int64_t, float, float *, Strides);
typedef struct {
    Weigh *weigh;
    struct {
        int64_t channels, together; /* maps, and pixels of each that lie beside each other */
        Mix *mix;
    } of[SIZES]; /* the largest first, one at last, and none behind it */
    int past;  /* whether what they make may go past the caches */
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
#include "pamr_blocks.h"
#include "pamr_sixteen.h"
#endif

static Rows rows(void) {
#if MANY_PROCESSORS
    if (lanes() == 16 && __builtin_cpu_supports("avx512bw"))
        return (Rows){weigh_of_sixteen,
                      {{16, FOUR, mix_16_wide},
                       {8, BLOCK, mix_8_wide},
                       {7, BLOCK, mix_7_wide},
                       {6, BLOCK, mix_6_wide},
                       {5, BLOCK, mix_5_wide},
                       {4, BLOCK, mix_4_wide},
                       {3, BLOCK, mix_3_wide},
                       {2, BLOCK, mix_2_wide},
                       {1, BLOCK, mix_1_wide}},
                      1};
    if (lanes() >= 8)
        return (Rows){weigh_of_eight,
                      {{16, FOUR, mix_16_of_eight},
                       {8, FOUR, mix_8_of_eight},
                       {4, FOUR, mix_4_of_eight},
                       {1, FOUR, mix_1_of_eight}},
                      0};
#endif
    return (Rows){weigh_anywhere, {{4, FOUR, mix_4_anywhere}, {1, FOUR, mix_1_anywhere}}, 0};
}

/* Maps that lie beside each other, and beside zeros where they are fewer than `channels`: rows of `row` numbers, two
 * planes to take turns. */
typedef struct {
    int64_t maps, channels, row;
    Shape s; /* the picture's, as these maps lie */
    Mix *mix;
    float *plane[2], *line; /* room for a row of the last iteration */
    float *refined;
    int64_t *shift; /* [h, n] */
} Group;

/* The next groups of k maps, to be refined together: of the largest size of which three quarters are used,
 * or of the one that fits. */
static int64_t next_groups(const Rows *rows, Shape s, int64_t k, Group *groups) {
    int64_t n = 0, channels = 0;
    for (int size = 0; k; n++) {
        while (rows->of[size].channels * 3 > k * 4 || rows->of[size + 1].channels >= k) size++;
        channels += rows->of[size].channels;
        if (channels > TOGETHER) break;
        int64_t c = rows->of[size].channels, maps = smaller(c, k);
        s.together = rows->of[size].together;
        groups[n] = (Group){.maps = maps, .channels = c, .row = row_of(s, c), .s = s, .mix = rows->of[size].mix};
        k -= maps;
    }
    return n;
}

/* What all maps of a picture share. */
typedef struct {
    Shape s;
    Around around;
    int64_t iterations;
    int past;     /* whether maps are too large to stay near from one iteration to the next */
    Weigh *weigh; /* until weights are there */
    const float *image; /* [c, h, row], amid its margins */
    int64_t c, row, plane;
    const int64_t *shift; /* [h, n] */
    float samples, *weights; /* of eight neighbours at a block of pixels [EIGHT, BLOCK] */
    Strides strides;
} Picture;

static size_t bytes_of(const Group *g, const Picture *p) {
    size_t numbers = (size_t)((2 * p->s.h + 1) * g->row + BETWEEN + 2 * LINE);
    return numbers * sizeof(float) + (size_t)(p->s.h * p->around.n) * sizeof(int64_t);
}

/* Lays groups and their maps out in memory from `room` on. */
static void lay_out(Group *groups, int64_t n, const Picture *p, const float *maps, float *refined, char *room) {
    for (Group *g = groups; g < groups + n; room += bytes_of(g, p), g++) {
        g->shift = (int64_t *)room;
        g->plane[0] = aligned(g->shift + p->s.h * p->around.n);
        g->plane[1] = g->plane[0] + p->s.h * g->row + BETWEEN;
        g->line = g->plane[1] + p->s.h * g->row;
        g->refined = refined;
        lead(p->s, p->around, g->row, g->channels, g->shift);
        spread(maps, g->s, g->maps, g->channels, g->row, p->past, g->plane[0]);
        maps += g->maps * p->s.h * p->s.w, refined += g->maps * p->s.h * p->s.w;
    }
}

/* Sums of a group at a row's pixels from x to `end`, `to` at the row's first. What is repeated at its ends, or taken to the
 * answer, stays near. */
static void mix(const Picture *p, const Group *g, const float *weights, int64_t y, int64_t x, int64_t end, int64_t round,
                float *to) {
    const int64_t n = p->around.n, reach = p->around.reach, c = g->channels, whole = p->s.whole;
    const float *from = g->plane[round % 2] + y * g->row + p->s.margin * c;
    const int stays = !p->past || round + 1 == p->iterations;
    Ahead ahead = {.weights = weights + p->strides.row};
    if (p->past && y + reach + 1 < p->s.h) {
        const float *next = from + (reach + 1) * g->row;
        for (int64_t left = x - reach; left < x + reach; left++) __builtin_prefetch(next + left * c, 0, 2);
        ahead.maps = next + (x + reach) * c;
    }
    for (int64_t until; x < end; weights += (until - x) / BLOCK * p->strides.block, x = until) {
        int outermost = !x || x + BLOCK == whole;
        until = stays ? end : outermost ? x + BLOCK : smaller(end, whole - BLOCK);
        ahead.past = !stays && !outermost, ahead.left = (end - until) / BLOCK;
        g->mix(from + x * c, (until - x) / BLOCK, weights, p->strides, g->shift + y * n, n, &ahead, to + x * c);
        if (ahead.maps) ahead.maps += (until - x) * c;
    }
}

/* An iteration at a row's pixels from x to `end`. */
static void step(const Picture *p, const Group *groups, int64_t n_groups, int64_t y, int64_t x, int64_t end,
                 int64_t round) {
    const Shape s = p->s;
    const int64_t n = p->around.n;
    float *weights = p->weights + y * p->strides.row + x / BLOCK * p->strides.block;
    if (p->weigh && !round) {
        const float *pixels = p->image + y * p->row + s.margin + x;
        p->weigh(pixels, (end - x) / BLOCK, p->c, p->plane, p->shift + y * n, n, p->samples, weights, p->strides);
    }
    for (const Group *g = groups; g < groups + n_groups; g++) {
        float *to = round + 1 == p->iterations ? g->line : g->plane[(round + 1) % 2] + y * g->row;
        mix(p, g, weights, y, x, end, round, to + s.margin * g->channels);
        if (to == g->line) {
            gather(to + (s.margin + x) * g->channels, g->s, g->maps, g->channels, y, x, end, g->refined);
            continue;
        }
        if (!x) fill_left(g->s, g->channels, to);
        if (end == s.whole) fill_right(g->s, g->channels, to);
    }
}

/* So many iterations in step, from `round` on. */
static void advance(const Picture *p, const Group *groups, int64_t n, int64_t round, int64_t steps) {
    int64_t h = p->s.h, whole = p->s.whole, reach = p->around.reach, channels = 0;
    for (const Group *g = groups; g < groups + n; g++) channels += g->channels;
    int64_t panel = p->past ? NARROW : channels <= FEW ? WIDE : PANEL;
    for (int64_t x = 0; x < whole; x += panel)
        for (int64_t front = 0; front < h + (steps - 1) * reach; front++)
            for (int64_t t = 0; t < steps; t++) {
                int64_t y = front - t * reach, left = x - t * p->s.margin, right = left + panel;
                if (x + panel >= whole) right = whole;
                if (left < 0) left = 0;
                if (y >= 0 && y < h && left < right) step(p, groups, n, y, left, right, round + t);
            }
}

/* Maps [k, h, w] refined by an image [c, h, w], so many times, at least once: by eight neighbours of each pixel at each
 * of `n` dilations. They may be refined where they lie: a group is read before it is written. */
API int64_t lexiseg_pamr(const float *maps, float *refined, int64_t k, int64_t h, int64_t w, const float *image,
                         int64_t c, const int64_t *dilations, int64_t n, int64_t iterations) {
    Around around = {dilations, EIGHT * n, 0};
    for (int64_t i = 0; i < n; i++)
        if (dilations[i] > around.reach) around.reach = dilations[i];
    int64_t margin = up(around.reach, BLOCK), whole = up(w, BLOCK);
    Rows of = rows();
    Shape s = {h, w, margin, whole, whole + 2 * margin, BLOCK}; /* of one map, the pixels as they come */
    /* A deviation is taken of the neighbours and, once for each dilation, the pixel itself. */
    Picture p = {.s = s, .around = around, .iterations = iterations, .c = c, .row = row_of(s, 1), .plane = h * row_of(s, 1),
                 .samples = (float)(around.n + n)};
    Group groups[TOGETHER];
    size_t most = 0;
    for (int64_t done = 0; done < k;) {
        size_t bytes = 0;
        int64_t count = next_groups(&of, s, k - done, groups);
        for (const Group *g = groups; g < groups + count; g++) bytes += bytes_of(g, &p), done += g->maps;
        if (bytes > most) most = bytes;
    }
    /* A core brings more at once from memory if it is read in several places: of few maps the weights of each dilation lie
     * by themselves in a row, and where rows of maps are as many places, those of a block together. */
    const int64_t of_row = whole * EIGHT + BETWEEN;
    p.strides = k <= FEW ? (Strides){OF_BLOCK, of_row, n * of_row} : (Strides){n * OF_BLOCK, OF_BLOCK, n * whole * EIGHT};
    size_t shifts = (size_t)(h * around.n) * sizeof(int64_t), pixels = (size_t)(c * p.plane) * sizeof(float);
    size_t of_weights = (size_t)(h * p.strides.row) * sizeof(float);
    Room *room = room_of(3 * LINE * sizeof(float) + shifts + pixels + of_weights + most);
    if (!room) return OUT_OF_MEMORY;
    int64_t *shift = (int64_t *)room->at;
    float *colours = aligned(room->at + shifts);
    p.weights = aligned(colours + c * p.plane);
    for (int64_t i = 0; i < c; i++) spread(image + i * h * w, s, 1, 1, p.row, 0, colours + i * p.plane);
    lead(s, around, p.row, 1, shift);
    p.image = colours, p.shift = shift, p.weigh = of.weigh;
    for (int64_t count; k; p.weigh = NULL) {
        count = next_groups(&of, s, k, groups);
        p.past = of.past && groups->channels == 16 && of_weights + bytes_of(groups, &p) > NEAR_BY;
        lay_out(groups, count, &p, maps, refined, (char *)p.weights + of_weights);
        int64_t steps = p.past ? 1 : groups->channels <= FEW && of_weights > NEAR_BY ? MANY_STEPS : STEPS;
        for (int64_t round = 0; round < iterations; round += steps)
            advance(&p, groups, count, round, smaller(steps, iterations - round));
        for (const Group *g = groups; g < groups + count; g++)
            maps += g->maps * h * w, refined += g->maps * h * w, k -= g->maps;
    }
    leave(room);
    return 0;
}
