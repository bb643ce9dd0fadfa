/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * A row is worked on in blocks of pixels, each a vector, or some, of whatever width the processor has. The weights of a
 * block lie beside each other, neighbour by neighbour. Sums of a block stay in registers; all maps of a group go over it
 * while its weights are in the cache. */
#include "kernel.h"

#include <math.h>

#pragma GCC optimize("fp-contract=fast")

enum { BLOCK = 8, NEIGHBOURS = 8, PANEL = 8, STEPS = 2, GROUP = 24 }; /* GROUP maps at a time, whose rows fit a core's cache */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

typedef float Block __attribute__((vector_size(4 * BLOCK), aligned(4), may_alias));

/* A picture, or maps of one: planes of h rows of `row` numbers, in which pixels stand behind a margin. Margins repeat the
 * outermost pixels. */
typedef struct {
    int64_t h, w, blocks, margin, row, plane;
} Shape;

static Shape shape_of(int64_t h, int64_t w, int64_t reach) {
    int64_t blocks = (w + BLOCK - 1) / BLOCK, row = blocks * BLOCK + 2 * reach;
    return (Shape){h, w, blocks, reach, row, h * row + BLOCK}; /* planes do not begin a power of two apart */
}

/* Repeats the outermost pixels of a row beside it. */
static void fill_margins(float *row, Shape s) {
    float *pixels = row + s.margin;
    for (int64_t x = 0; x < s.margin; x++) row[x] = pixels[0];
    for (int64_t x = s.w; x < s.row - s.margin; x++) pixels[x] = pixels[s.w - 1];
}

/* n maps [n, h, w] to planes with margins. */
static void spread(const float *maps, int64_t n, Shape s, float *planes) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t y = 0; y < s.h; y++) {
            float *row = planes + i * s.plane + y * s.row;
            memcpy(row + s.margin, maps + (i * s.h + y) * s.w, (size_t)s.w * sizeof(float));
            fill_margins(row, s);
        }
}

/* From a pixel of row y to each of its neighbours at each dilation, in the order of `NEIGHBOURS` in masks/pamr.py. */
static void find_neighbours(Shape s, const int64_t *dilations, int64_t n, int64_t y, int64_t *shift) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t place = 0; place < NEIGHBOURS + 1; place++) {
            if (place == NEIGHBOURS / 2) continue; /* the pixel itself */
            int64_t to = y + (place / 3 - 1) * dilations[i];
            to = to < 0 ? 0 : to >= s.h ? s.h - 1 : to;
            *shift++ = (to - y) * s.row + (place % 3 - 1) * dilations[i];
        }
}

/* e to the power of what is at most 0. */
INLINE void raise(const Block *power, Block *result) {
    for (int i = 0; i < BLOCK; i++) (*result)[i] = power_of_e((*power)[i] < -87.0f ? -87.0f : (*power)[i]);
}

/* Weights [n, BLOCK] of the neighbours of a block of pixels of `c` channels, which sum to 1. A deviation is taken of the
 * neighbours and, once for each dilation, the pixel itself. */
INLINE void weigh_block(const float *pixels, int64_t c, Shape s,
                                                              const int64_t *shift, int64_t n, Block *weights) {
    const float samples = (float)(n + n / NEIGHBOURS);
    for (int64_t i = 0; i < n; i++) weights[i] = (Block){0};
    for (int64_t channel = 0; channel < c; channel++, pixels += s.plane) {
        const Block own = *(const Block *)pixels;
        Block total = {0}, squares = {0}, scale;
        /* Around the pixel itself: rounding does little to small squares. */
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
    Block most = weights[0], sum = {0};
    for (int64_t i = 1; i < n; i++)
        for (int lane = 0; lane < BLOCK; lane++) most[lane] = weights[i][lane] > most[lane] ? weights[i][lane] : most[lane];
    for (int64_t i = 0; i < n; i++) {
        Block power = weights[i] - most;
        raise(&power, weights + i);
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

/* Weighted sums of the neighbours of so many blocks side by side, in so many maps; at most eight of them. */
INLINE void mix_block(const int maps, const int blocks, const float *from, Shape s,
                                                            const Block *weights, const int64_t *shift, int64_t n,
                                                            float *to) {
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

/* So many blocks of `maps` maps, two at a time. */
INLINE void mix_blocks(const int maps, int64_t blocks, const float *from, Shape s,
                                                             const Block *weights, const int64_t *shift, int64_t n,
                                                             float *to) {
    for (; blocks >= 2; blocks -= 2, weights += 2 * n, from += 2 * BLOCK, to += 2 * BLOCK)
        mix_block(maps, 2, from, s, weights, shift, n, to);
    if (blocks) mix_block(maps, 1, from, s, weights, shift, n, to);
}

/* A row of `maps` maps, a panel after the other: its weights stay in the first cache while all maps go over it. */
WIDEST static void mix_row(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *shift,
                           int64_t n, float *to) {
    for (int64_t first = 0; first < s.blocks; first += PANEL) {
        const int64_t blocks = s.blocks - first < PANEL ? s.blocks - first : PANEL;
        const Block *some = weights + first * n;
        /* Groups of about as many maps each: a single map would wait for its own sums. */
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

/* Row y of an iteration, from planes to planes. */
static void mix_maps(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *dilations,
                     int64_t n_dilations, int64_t y, float *to) {
    int64_t n = n_dilations * NEIGHBOURS, first = y * s.row + s.margin, shift[n];
    find_neighbours(s, dilations, n_dilations, y, shift);
    mix_row(from + first, maps, s, weights + y * s.blocks * n, shift, n, to + first);
    for (int64_t map = 0; map < maps; map++) fill_margins(to + map * s.plane + y * s.row, s);
}

/* Maps [k, h, w] refined by an image [c, h, w], so many times, at least once: by eight neighbours of each pixel at each
 * of `n_dilations` dilations. `refined` [k, h, w] may be `maps`. */
API int64_t lexiseg_pamr(const float *maps, float *refined, int64_t k, int64_t h, int64_t w, const float *image,
                         int64_t c, const int64_t *dilations, int64_t n_dilations, int64_t iterations) {
    int64_t n = n_dilations * NEIGHBOURS, reach = 0, group = k < GROUP ? k : GROUP;
    for (int64_t i = 0; i < n_dilations; i++)
        if (dilations[i] > reach) reach = dilations[i];
    const Shape s = shape_of(h, w, reach);
    const int64_t of_row = s.blocks * n; /* blocks of weights */
    int64_t *shift = malloc((size_t)n * sizeof(int64_t));
    float *colours = malloc((size_t)(c * s.plane) * sizeof(float));
    Block *weights = aligned_alloc(64, (size_t)(h * of_row) * sizeof(Block));
    float *planes = calloc((size_t)(2 * group * s.plane), sizeof(float));
    int64_t failed = shift && colours && weights && planes ? 0 : OUT_OF_MEMORY;
    if (failed) goto end;
    spread(image, c, s, colours);
    for (int64_t y = 0; y < h; y++) {
        find_neighbours(s, dilations, n_dilations, y, shift);
        weigh_row(colours + y * s.row + s.margin, c, s, shift, n, weights + y * of_row);
    }
    for (int64_t done = 0, some; done < k; done += some) {
        some = k - done < GROUP ? k - done : GROUP;
        float *from = planes, *to = planes + group * s.plane;
        spread(maps + done * h * w, some, s, from);
        for (int64_t round = 0, steps; round < iterations; round += steps) {
            steps = iterations - round < STEPS ? 1 : STEPS;
            /* The second iteration follows as closely as it may, while the weights are still in the cache. What it makes
             * goes where the first has read for the last time. */
            for (int64_t front = 0; front < h + (steps - 1) * reach; front++) {
                if (front < h) mix_maps(from, some, s, weights, dilations, n_dilations, front, to);
                if (steps == STEPS && front >= reach) mix_maps(to, some, s, weights, dilations, n_dilations, front - reach, from);
            }
            if (steps == STEPS) continue;
            float *swap = from;
            from = to, to = swap;
        }
        for (int64_t row = 0; row < some * h; row++)
            memcpy(refined + (done * h + row) * w, from + row / h * s.plane + row % h * s.row + s.margin,
                   (size_t)w * sizeof(float));
    }
end:
    free(planes);
    free(weights);
    free(colours);
    free(shift);
    return failed;
}
