/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`.
 *
 * A row is worked on in blocks of pixels, each a vector, or some, of whatever width the processor has. The weights of a
 * block lie beside each other, neighbour by neighbour. Sums of a block stay in registers; all maps of a group go over it
 * while its weights are in the cache. A picture is worked on in strips of columns, so that the rows around a row stay in
 * the cache, too. */
#include "kernel.h"

#include <math.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#pragma GCC optimize("fp-contract=fast")

/* Pixels of a block; blocks whose weights fit the first cache; blocks of a strip and maps of a group, which fit the second. */
enum { BLOCK = 8, NEIGHBOURS = 8, PANEL = 8, STRIP = 24, STEPS = 5, GROUP = 12 };
enum { HUGE_PAGE = 2 << 20, MIN_MAPPED = 32 << 20 }; /* bytes */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

typedef float Block __attribute__((vector_size(4 * BLOCK), aligned(4), may_alias));

/* A picture, or maps of one: planes of h rows of `row` numbers, in which pixels stand behind a margin. Margins repeat the
 * outermost pixels. */
typedef struct {
    int64_t h, w, blocks, margin, row, plane;
} Shape;

static int64_t blocks_of(int64_t pixels) { return (pixels + BLOCK - 1) / BLOCK; }

static Shape shape_of(int64_t h, int64_t w, int64_t reach) {
    int64_t blocks = blocks_of(w), margin = blocks_of(reach) * BLOCK, row = blocks * BLOCK + 2 * margin;
    return (Shape){h, w, blocks, margin, row, h * row + BLOCK}; /* planes do not begin a power of two apart */
}

/* Memory in huge pages, where it is so large that malloc always maps new pages: clearing those one by one takes as long as
 * an iteration. */
static void *reserve(int64_t numbers) {
    const size_t bytes = (size_t)numbers * sizeof(float), page = bytes < MIN_MAPPED ? 64 : HUGE_PAGE;
    const size_t whole = (bytes + page - 1) / page * page;
    void *room = aligned_alloc(page, whole);
#if defined(__linux__)
    if (room && page == HUGE_PAGE) madvise(room, whole, MADV_HUGEPAGE);
#endif
    return room;
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
    Block top = weights[0], sum = {0};
    for (int64_t i = 1; i < n; i++)
        for (int lane = 0; lane < BLOCK; lane++) top[lane] = weights[i][lane] > top[lane] ? weights[i][lane] : top[lane];
    for (int64_t i = 0; i < n; i++) {
        Block power = weights[i] - top;
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

/* Blocks `first` to `end` of a row of `maps` maps, a panel after the other: its weights stay in the first cache while all
 * maps go over it. */
WIDEST static void mix_row(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *shift,
                           int64_t n, int64_t first, int64_t end, float *to) {
    for (; first < end; first += PANEL) {
        const int64_t blocks = end - first < PANEL ? end - first : PANEL;
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

/* Blocks `first` to `end` of row y of an iteration, from planes to planes. */
static void mix_maps(const float *from, int64_t maps, Shape s, const Block *weights, const int64_t *dilations,
                     int64_t n_dilations, int64_t y, int64_t first, int64_t end, float *to) {
    int64_t n = n_dilations * NEIGHBOURS, start = y * s.row + s.margin, shift[n];
    find_neighbours(s, dilations, n_dilations, y, shift);
    mix_row(from + start, maps, s, weights + y * s.blocks * n, shift, n, first, end, to + start);
    if (!first || end == s.blocks)
        for (int64_t map = 0; map < maps; map++) fill_margins(to + map * s.plane + y * s.row, s);
}

/* Some iterations of some maps, from planes[0] to planes[1], back, and so on. Each follows the one before as closely as it
 * may, while the weights are still in the cache. Its strips lie further to the left, because it needs what that one has
 * made around them. What it makes goes where that one has read for the last time. */
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
