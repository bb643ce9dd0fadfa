/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * A row is processed in blocks of pixels, one vector each. The weights of a block are contiguous, neighbour by neighbour. Sums
 * of a block stay in registers, and all maps of a group are processed while its weights are in the cache. A picture is
 * processed in strips of columns, so that the rows around a row stay in the cache, too. */
#include "kernel.h"

#include <math.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#pragma GCC optimize("fp-contract=fast")

enum {
    BLOCK = LANES,  /* pixels */
    NEIGHBOURS = 8, /* of a pixel, at each dilation */
    PANEL = 8,      /* blocks whose weights fit the L1 cache */
    STRIP = 24,     /* blocks of a strip: with the maps of a group they fit the L2 cache */
    GROUP = 12,     /* maps */
    STEPS = 5,      /* iterations that run close behind each other */
};
enum { HUGE_PAGE = 2 << 20, MIN_MAPPED = 32 << 20 }; /* bytes */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

typedef Eight Block;

/* Layout of a picture or of maps: planes of h rows of `row` numbers. A row has a margin on either side of its w pixels, which
 * repeats the outermost ones. */
typedef struct {
    int64_t h, w, blocks, margin, row, plane;
} Shape;

static int64_t blocks_of(int64_t pixels) { return (pixels + BLOCK - 1) / BLOCK; }

static Shape shape_of(int64_t h, int64_t w, int64_t reach) {
    int64_t blocks = blocks_of(w), margin = blocks_of(reach) * BLOCK, row = blocks * BLOCK + 2 * margin;
    return (Shape){h, w, blocks, margin, row, h * row + BLOCK}; /* + BLOCK: not a power of two, or planes share cache sets */
}

/* Allocate memory, in huge pages if it is large: page faults of small pages take as long as an iteration. */
static void *reserve(int64_t numbers) {
    const size_t bytes = (size_t)numbers * sizeof(float), page = bytes < MIN_MAPPED ? 64 : HUGE_PAGE;
    const size_t whole = (bytes + page - 1) / page * page;
    void *room = aligned_alloc(page, whole);
#if defined(__linux__)
    if (room && page == HUGE_PAGE) madvise(room, whole, MADV_HUGEPAGE);
#endif
    return room;
}

/* Fill the margins of a row with its outermost pixels. */
static void fill_margins(float *row, Shape s) {
    float *pixels = row + s.margin;
    for (int64_t x = 0; x < s.margin; x++) row[x] = pixels[0];
    for (int64_t x = s.w; x < s.row - s.margin; x++) pixels[x] = pixels[s.w - 1];
}

/* Copy n maps [n, h, w] to planes with margins. */
static void spread(const float *maps, int64_t n, Shape s, float *planes) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t y = 0; y < s.h; y++) {
            float *row = planes + i * s.plane + y * s.row;
            memcpy(row + s.margin, maps + (i * s.h + y) * s.w, (size_t)s.w * sizeof(float));
            fill_margins(row, s);
        }
}

/* Offsets from a pixel of row y to each of its neighbours at each of n dilations, ordered as NEIGHBOURS in masks/pamr.py. */
static void find_neighbours(Shape s, const int64_t *dilations, int64_t n, int64_t y, int64_t *shift) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t place = 0; place < NEIGHBOURS + 1; place++) {
            if (place == NEIGHBOURS / 2) continue; /* the pixel itself */
            int64_t to = y + (place / 3 - 1) * dilations[i];
            to = to < 0 ? 0 : to >= s.h ? s.h - 1 : to;
            *shift++ = (to - y) * s.row + (place % 3 - 1) * dilations[i];
        }
}

/* Weights [n, BLOCK] of the neighbours of a block of pixels of `c` channels, which sum to 1. A deviation is taken of the
 * neighbours and, once for each dilation, the pixel itself. */
INLINE void weigh_block(const float *pixels, int64_t c, Shape s, const int64_t *shift, int64_t n, Block *weights) {
    const float samples = (float)(n + n / NEIGHBOURS);
    for (int64_t i = 0; i < n; i++) weights[i] = (Block){0};
    for (int64_t channel = 0; channel < c; channel++, pixels += s.plane) {
        const Block own = *(const Block *)pixels;
        Block total = {0}, squares = {0}, scale;
        /* Differences to the pixel itself are small, so their squares lose little by rounding. */
        for (int64_t i = 0; i < n; i++) {
            Block difference = *(const Block *)(pixels + shift[i]) - own;
            total += difference;
            squares += difference * difference;
        }
        Block variance = (squares - total * total / samples) / (samples - 1);
        for (int i = 0; i < BLOCK; i++) {
            float deviation = sqrtf(variance[i] > 0 ? variance[i] : 0);
            scale[i] = 1.0f / ((float)c * (EPSILON + SHARPNESS * deviation));
        }
        for (int64_t i = 0; i < n; i++) {
            Block difference = *(const Block *)(pixels + shift[i]) - own;
            for (int lane = 0; lane < BLOCK; lane++) weights[i][lane] -= fabsf(difference[lane]) * scale[lane];
        }
    }
    Block top = weights[0], sum = {0};
    for (int64_t i = 1; i < n; i++)
        for (int lane = 0; lane < BLOCK; lane++) top[lane] = weights[i][lane] > top[lane] ? weights[i][lane] : top[lane];
    for (int64_t i = 0; i < n; i++) {
        Block power = weights[i] - top, lowest = (Block){0} - 87.0f;
        weights[i] = (Block)CHOOSE(power > lowest, power, lowest);
        exp_below(&weights[i]);
        sum += weights[i];
    }
    sum = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) weights[i] *= sum;
}

/* Weights [blocks, n, BLOCK] of a row. */
WIDEST static void weigh_row(const float *pixels, int64_t c, Shape s, const int64_t *shift, int64_t n, Block *weights) {
    for (int64_t block = 0; block < s.blocks; block++, pixels += BLOCK, weights += n)
        weigh_block(pixels, c, s, shift, n, weights);
}

/* Weighted sums of the n neighbours, of `blocks` adjacent blocks in `maps` maps; maps * blocks is at most 8. */
INLINE void mix_block(const int maps, const int blocks, const float *from, Shape s, const Block *weights,
                      const int64_t *shift, int64_t n, float *to) {
    Block sums[8];
    for (int i = 0; i < maps * blocks; i++) sums[i] = (Block){0};
    for (int64_t i = 0; i < n; i++)
        for (int map = 0; map < maps; map++)
            for (int block = 0; block < blocks; block++) {
                const float *near = from + shift[i] + map * s.plane + block * BLOCK;
                sums[map * blocks + block] += *(const Block *)near * weights[block * n + i];
            }
    for (int map = 0; map < maps; map++)
        for (int block = 0; block < blocks; block++)
            *(Block *)(to + map * s.plane + block * BLOCK) = sums[map * blocks + block];
}

/* As `mix_block` for any number of blocks, two at a time. */
INLINE void mix_blocks(const int maps, int64_t blocks, const float *from, Shape s, const Block *weights,
                       const int64_t *shift, int64_t n, float *to) {
    for (; blocks >= 2; blocks -= 2, weights += 2 * n, from += 2 * BLOCK, to += 2 * BLOCK)
        mix_block(maps, 2, from, s, weights, shift, n, to);
    if (blocks) mix_block(maps, 1, from, s, weights, shift, n, to);
}

/* Blocks `first` to `end` of a row of `maps` maps, panel by panel: its weights stay in the L1 cache for all maps. */
WIDEST static void mix_row(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *shift,
                           int64_t n, int64_t first, int64_t end, float *to) {
    for (; first < end; first += PANEL) {
        const int64_t blocks = end - first < PANEL ? end - first : PANEL;
        const Block *some = weights + first * n;
        /* Groups of similar size, at most 4 maps: the additions of a single map would wait for each other. */
        int64_t groups = (maps + 3) / 4, map = 0, at = first * BLOCK;
        for (int64_t count; groups; groups--, map += count, at += count * s.plane) {
            count = (maps - map + groups - 1) / groups;
            if (maps == 1 && blocks == PANEL) mix_block(1, PANEL, from + at, s, some, shift, n, to + at);
            else if (count == 4) mix_blocks(4, blocks, from + at, s, some, shift, n, to + at);
            else if (count == 3) mix_blocks(3, blocks, from + at, s, some, shift, n, to + at);
            else if (count == 2) mix_blocks(2, blocks, from + at, s, some, shift, n, to + at);
            else mix_blocks(1, blocks, from + at, s, some, shift, n, to + at);
        }
    }
}

/* One iteration for blocks `first` to `end` of row y, from planes to planes. */
static void mix_maps(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *dilations,
                     int64_t n_dilations, int64_t y, int64_t first, int64_t end, float *to) {
    int64_t n = n_dilations * NEIGHBOURS, start = y * s.row + s.margin, shift[n];
    find_neighbours(s, dilations, n_dilations, y, shift);
    mix_row(from + start, maps, s, weights + y * s.blocks * n, shift, n, first, end, to + start);
    if (!first || end == s.blocks)
        for (int64_t map = 0; map < maps; map++) fill_margins(to + map * s.plane + y * s.row, s);
}

/* `steps` iterations of some maps, alternately from planes[0] to planes[1] and back.
 *
 * Each iteration runs as close behind the previous one as its neighbours allow, while the weights are still in the cache: one
 * margin further up and to the left. It overwrites only pixels that the previous one no longer reads. */
static void iterate(float *const planes[2], int64_t maps, Shape s, const Block *weights, const int64_t *dilations,
                    int64_t n_dilations, int64_t steps) {
    const int64_t reach = s.margin / BLOCK;
    for (int64_t first = 0; first < s.blocks; first += STRIP)
        for (int64_t front = 0; front < s.h + (steps - 1) * s.margin; front++)
            for (int64_t step = 0; step < steps; step++) {
                const int64_t y = front - step * s.margin, left = first - step * reach, right = left + STRIP;
                if (y >= 0 && y < s.h)
                    mix_maps(planes[step % 2], maps, s, weights, dilations, n_dilations, y, left < 0 ? 0 : left,
                             first + STRIP >= s.blocks ? s.blocks : right, planes[(step + 1) % 2]);
            }
}

/* Refine maps [k, h, w] by an image [c, h, w], in `iterations` >= 1 iterations over the eight neighbours of each pixel at each
 * of `n_dilations` dilations. `refined` [k, h, w] may be `maps`. */
API int64_t lexiseg_pamr(const float *maps, float *refined, int64_t k, int64_t h, int64_t w, const float *image,
                         int64_t c, const int64_t *dilations, int64_t n_dilations, int64_t iterations) {
    int64_t n = n_dilations * NEIGHBOURS, reach = 0, group = k < GROUP ? k : GROUP;
    for (int64_t i = 0; i < n_dilations; i++)
        if (dilations[i] > reach) reach = dilations[i];
    const Shape s = shape_of(h, w, reach);
    const int64_t of_row = s.blocks * n; /* blocks of weights */
    int64_t *shift = malloc((size_t)n * sizeof(int64_t));
    float *colours = reserve(c * s.plane), *planes = reserve(2 * group * s.plane);
    Block *weights = reserve(h * of_row * BLOCK);
    int64_t failed = shift && colours && weights && planes ? 0 : OUT_OF_MEMORY;
    if (failed) goto end;
    spread(image, c, s, colours);
    for (int64_t y = 0; y < h; y++) {
        find_neighbours(s, dilations, n_dilations, y, shift);
        weigh_row(colours + y * s.row + s.margin, c, s, shift, n, weights + y * of_row);
    }
    for (int64_t done = 0, some; done < k; done += some) {
        some = k - done < GROUP ? k - done : GROUP;
        float *turns[2] = {planes, planes + group * s.plane};
        spread(maps + done * h * w, some, s, planes);
        for (int64_t round = 0, steps; round < iterations; round += steps) {
            steps = iterations - round < STEPS ? iterations - round : STEPS;
            iterate(turns, some, s, weights, dilations, n_dilations, steps);
            if (steps % 2 == 0) continue;
            float *swap = turns[0];
            turns[0] = turns[1], turns[1] = swap;
        }
        for (int64_t row = 0; row < some * h; row++)
            memcpy(refined + (done * h + row) * w, turns[0] + row / h * s.plane + row % h * s.row + s.margin,
                   (size_t)w * sizeof(float));
    }
end:
    free(planes);
    free(weights);
    free(colours);
    free(shift);
    return failed;
}
