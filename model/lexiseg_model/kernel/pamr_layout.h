/* How PAMR's pictures and maps lie in memory, and how they come there and back.
 *
 * Maps of a group lie by fours of pixels, [pixels / 4, maps, 4]: a vector holds four pixels of some maps, times four
 * weights as they lie, repeated for each map. What is beside it by a multiple of four is a vector, too, and by one to three
 * it is put together from two. A single map is a row of pixels. */
#include "kernel.h"

#if MANY_PROCESSORS
#include <immintrin.h>
#endif

enum { BLOCK = 16, FOUR = 4, MOST_TOGETHER = 128 }; /* pixels; numbers of all maps at them */

/* A picture of h x w amid its margins, in pixels: rows of `wide`, of which `whole` are the picture's or fill up the
 * last block, after `margin`. */
typedef struct {
    int64_t h, w, margin, whole, wide, together;
} Shape;

/* Neighbours of the rows' pixels: eight at each dilation, of which the largest is `reach`. */
typedef struct {
    const int64_t *dilations;
    int64_t n, reach;
} Around;

enum { EIGHT = 8 };
static const int8_t DOWN[EIGHT] = {-1, -1, -1, 0, 0, 1, 1, 1}, ACROSS[EIGHT] = {-1, 0, 1, -1, 1, -1, 0, 1};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Numbers from one row to the next: an odd number of cache lines, or rows would meet in one corner of the cache. */
static int64_t row_of(Shape s, int64_t channels) { return up(s.wide * channels, 16 * LINE) + 5 * LINE; }

/* Of map 0 at a pixel of a row; the others' are s.together numbers apart. */
static int64_t place_of(Shape s, int64_t pixel, int64_t c) {
    return pixel / s.together * s.together * c + pixel % s.together;
}

/* Repeats a pixel of a row from `x` to `end`, where what lies together ends. */
static void repeat(Shape s, float *row, int64_t c, int64_t pixel, int64_t x, int64_t end) {
    const int64_t together = s.together;
    float unit[MOST_TOGETHER];
    for (int64_t m = 0; m < c; m++)
        for (int64_t i = 0; i < together; i++) unit[m * together + i] = row[place_of(s, pixel, c) + m * together];
    for (; x % together; x++)
        for (int64_t m = 0; m < c; m++) row[place_of(s, x, c) + m * together] = unit[m * together];
    for (; x < end; x += together) memcpy(row + x * c, unit, (size_t)(together * c) * sizeof(float));
}
/* Repeats the outermost pixels of a row to its left, and to its right. */
static void fill_left(Shape s, int64_t c, float *row) { repeat(s, row, c, s.margin, 0, s.margin); }
static void fill_right(Shape s, int64_t c, float *row) {
    int64_t end = s.margin + s.w;
    repeat(s, row, c, end - 1, end, s.wide);
}

/* So many numbers, four or a multiple, to memory, and not to the caches, if that is said. */
static inline void put(const float *unit, int together, int past, float *to) {
#if MANY_PROCESSORS
    if (past) {
        for (int i = 0; i < together; i += FOUR) _mm_stream_ps(to + i, _mm_loadu_ps(unit + i));
        return;
    }
#endif
    (void)past;
    memcpy(to, unit, (size_t)together * sizeof(float));
}

/* Planes [maps, h, w] to pixels amid their margins; past the caches, but for what is repeated at once, if that is said. */
static inline void spread_by(const int together, const float *planes, Shape s, int64_t maps, int64_t c, int64_t row,
                             int past, float *to) {
    const float zeros[BLOCK] = {0};
    const int64_t plane = s.h * s.w;
    for (int64_t y = 0; y < s.h; y++, to += row, planes += s.w) {
        for (int64_t x = 0; x < s.w; x += together) {
            float *unit = to + (s.margin + x) * c;
            const int away = past && x >= BLOCK && x + BLOCK < s.w;
            for (int64_t m = 0; m < c; m++, unit += together)
                if (m >= maps)
                    put(zeros, together, away, unit);
                else if (x + together <= s.w)
                    put(planes + m * plane + x, together, away, unit);
                else
                    memcpy(unit, planes + m * plane + x, (size_t)(s.w - x) * sizeof(float));
        }
        fill_left(s, c, to);
        fill_right(s, c, to);
    }
}
static void spread(const float *planes, Shape s, int64_t maps, int64_t c, int64_t row, int past, float *to) {
    if (s.together == BLOCK)
        spread_by(BLOCK, planes, s, maps, c, row, past, to);
    else
        spread_by(FOUR, planes, s, maps, c, row, past, to);
}

/* And back, a row's pixels from x to `end`: map by map, so that each line of memory is written whole. */
static inline void gather_by(const int together, const float *from, Shape s, int64_t maps, int64_t c, int64_t y, int64_t x,
                             int64_t end, float *planes) {
    const int64_t pixels = smaller(end, s.w) - x;
    planes += y * s.w + x;
    for (int64_t m = 0; m < maps; m++, from += together, planes += s.h * s.w) {
        int64_t i = 0;
        for (; i + together <= pixels; i += together)
            memcpy(planes + i, from + i * c, (size_t)together * sizeof(float));
        if (i < pixels) memcpy(planes + i, from + i * c, (size_t)(pixels - i) * sizeof(float));
    }
}
static void gather(const float *from, Shape s, int64_t maps, int64_t c, int64_t y, int64_t x, int64_t end, float *planes) {
    if (s.together == BLOCK)
        gather_by(BLOCK, from, s, maps, c, y, x, end, planes);
    else
        gather_by(FOUR, from, s, maps, c, y, x, end, planes);
}

/* What leads from a pixel to its neighbours [h, n], and in more than one map from a four to those of its neighbours that
 * are multiples of four aside: above the first row and below the last there are these again. */
static void lead(Shape s, Around around, int64_t row, int64_t c, int64_t *shift) {
    for (int64_t y = 0; y < s.h; y++)
        for (int64_t i = 0; i < around.n; i++) {
            int64_t dilation = around.dilations[i / EIGHT], at = y + dilation * DOWN[i % EIGHT];
            *shift++ = ((at < 0 ? 0 : smaller(at, s.h - 1)) - y) * row + dilation * ACROSS[i % EIGHT] * c;
        }
}
