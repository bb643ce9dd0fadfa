/* How PAMR's pictures and maps lie in memory, and how they come there and back.
 *
 * Maps of a group lie by fours of pixels, [pixels / 4, maps, 4]: a vector holds four pixels of some maps, times four
 * weights as they lie, repeated for each map. What is beside it by a multiple of four is a vector, too, and by one to three
 * it is put together from two. A single map is a row of pixels. */
#include "kernel.h"

#if MANY_PROCESSORS
#include <immintrin.h>
#endif

enum { BLOCK = 16, FOUR = 4 }; /* pixels */

/* A picture of h x w amid its margins, in pixels: rows of `wide`, of which `whole` are the picture's or fill up the
 * last block, after `margin`. */
typedef struct {
    int64_t h, w, margin, whole, wide;
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

/* Of map 0 at a pixel of a row; the others' are FOUR numbers apart. */
static int64_t place_of(int64_t pixel, int64_t c) { return pixel / FOUR * FOUR * c + pixel % FOUR; }

/* Repeats a pixel of a row from `x` to `end`, where a four ends. */
static void repeat(float *row, int64_t c, int64_t pixel, int64_t x, int64_t end) {
    float four[16 * FOUR];
    for (int64_t m = 0; m < c; m++)
        for (int64_t i = 0; i < FOUR; i++) four[m * FOUR + i] = row[place_of(pixel, c) + m * FOUR];
    for (; x % FOUR; x++)
        for (int64_t m = 0; m < c; m++) row[place_of(x, c) + m * FOUR] = four[m * FOUR];
    for (; x < end; x += FOUR) memcpy(row + x * c, four, (size_t)(FOUR * c) * sizeof(float));
}
/* Repeats the outermost pixels of a row to its left, and to its right. */
static void fill_left(Shape s, int64_t c, float *row) { repeat(row, c, s.margin, 0, s.margin); }
static void fill_right(Shape s, int64_t c, float *row) {
    int64_t end = s.margin + s.w;
    repeat(row, c, end - 1, end, s.wide);
}

/* Four numbers to memory, and not to the caches, if that is said. */
static inline void put(const float *four, int past, float *to) {
#if MANY_PROCESSORS
    if (past) {
        _mm_stream_ps(to, _mm_loadu_ps(four));
        return;
    }
#endif
    (void)past;
    memcpy(to, four, FOUR * sizeof(float));
}

/* Planes [maps, h, w] to pixels amid their margins; past the caches, but for what is repeated at once, if that is said. */
static void spread(const float *planes, Shape s, int64_t maps, int64_t c, int64_t row, int past, float *to) {
    const float zeros[FOUR] = {0};
    const int64_t plane = s.h * s.w;
    for (int64_t y = 0; y < s.h; y++, to += row, planes += s.w) {
        for (int64_t x = 0; x < s.w; x += FOUR) {
            float *four = to + (s.margin + x) * c;
            const int away = past && x >= BLOCK && x + BLOCK < s.w;
            for (int64_t m = 0; m < c; m++, four += FOUR)
                if (m >= maps)
                    put(zeros, away, four);
                else if (x + FOUR <= s.w)
                    put(planes + m * plane + x, away, four);
                else
                    memcpy(four, planes + m * plane + x, (size_t)(s.w - x) * sizeof(float));
        }
        fill_left(s, c, to);
        fill_right(s, c, to);
    }
}

/* And back, a row's pixels from x to `end`: map by map, so that each line of memory is written whole. */
static void gather(const float *from, Shape s, int64_t maps, int64_t c, int64_t y, int64_t x, int64_t end, float *planes) {
    const int64_t pixels = smaller(end, s.w) - x;
    planes += y * s.w + x;
    for (int64_t m = 0; m < maps; m++, from += FOUR, planes += s.h * s.w) {
        int64_t i = 0;
        for (; i + FOUR <= pixels; i += FOUR) memcpy(planes + i, from + i * c, FOUR * sizeof(float));
        if (i < pixels) memcpy(planes + i, from + i * c, (size_t)(pixels - i) * sizeof(float));
    }
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
