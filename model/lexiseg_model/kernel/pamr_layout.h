/* How PAMR's pictures and maps lie in memory, and how they come there and back. */
#include "kernel.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if MANY_PROCESSORS
#include <immintrin.h>
#endif

enum { BLOCK = 16 };                   /* pixels */
static const size_t KEPT = 96 << 20;   /* bytes at most that are kept between calls */
static const size_t MAPPED = 32 << 20; /* bytes from which on new memory never is what was used before */

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

/* Repeats the outermost pixels of a row to its left, and to its right. */
#define REPEAT(c) \
    for (; times > 0; times--, to += (c)) memcpy(to, pixel, (c) * sizeof(float))
static void repeat(const float *pixel, int64_t c, float *to, int64_t times) {
    float only = *pixel;
    switch (c) {
    case 1:
        for (int64_t x = 0; x < times; x++) to[x] = only;
        break;
    case 4: REPEAT(4); break;
    case 8: REPEAT(8); break;
    default: REPEAT(16);
    }
}
static void fill_left(Shape s, int64_t c, float *row) { repeat(row + s.margin * c, c, row, s.margin); }
static void fill_right(Shape s, int64_t c, float *row) {
    int64_t end = s.margin + s.w;
    repeat(row + (end - 1) * c, c, row + end * c, s.wide - end);
}

/* Puts the second half of the numbers between those of the first, so many times over: [2^times, n] -> [n, 2^times]. */
WIDEST static float *interleave(float *numbers, float *other, int64_t half, int times) {
    for (; times > 0; times--) {
        for (int64_t i = 0; i < half; i++) {
            other[2 * i] = numbers[i];
            other[2 * i + 1] = numbers[half + i];
        }
        float *last = numbers;
        numbers = other;
        other = last;
    }
    return numbers;
}

/* Numbers to lines of memory, and not to the caches. */
static void put_past(const float *numbers, int64_t n, float *to) {
#if MANY_PROCESSORS
    for (int64_t i = 0; i < n; i += 4) _mm_stream_ps(to + i, _mm_loadu_ps(numbers + i));
#else
    memcpy(to, numbers, (size_t)n * sizeof(float));
#endif
}

/* Planes [maps, h, w] to pixels amid their margins; past the caches, but for what is repeated at once, if that is said. */
static void spread(const float *planes, Shape s, int64_t maps, int64_t c, int64_t row, int past, float *to) {
    float tile[BLOCK * 16] = {0}, other[BLOCK * 16];
    for (int64_t y = 0; y < s.h; y++, to += row) {
        for (int64_t x = 0; x < s.w; x += BLOCK) {
            size_t pixels = (size_t)smaller(BLOCK, s.w - x);
            for (int64_t m = 0; m < maps; m++)
                memcpy(tile + m * BLOCK, planes + (m * s.h + y) * s.w + x, pixels * sizeof(float));
            memset(tile + maps * BLOCK, 0, (size_t)(c - maps) * BLOCK * sizeof(float));
            float *pixel = interleave(tile, other, BLOCK * c / 2, __builtin_ctz((unsigned)c));
            if (past && x && x + BLOCK < s.w)
                put_past(pixel, BLOCK * c, to + (s.margin + x) * c);
            else
                memcpy(to + (s.margin + x) * c, pixel, (size_t)(BLOCK * c) * sizeof(float));
        }
        fill_left(s, c, to);
        fill_right(s, c, to);
    }
}

/* And back, a row's pixels from x to `end`. */
static void gather(const float *from, Shape s, int64_t maps, int64_t c, int64_t y, int64_t x, int64_t end, float *planes) {
    float tile[BLOCK * 16], other[BLOCK * 16];
    for (; x < smaller(end, s.w); x += BLOCK, from += BLOCK * c) {
        size_t pixels = (size_t)smaller(BLOCK, s.w - x);
        memcpy(tile, from, (size_t)(BLOCK * c) * sizeof(float));
        float *plane = interleave(tile, other, BLOCK * c / 2, c > 1 ? 4 : 0);
        for (int64_t m = 0; m < maps; m++)
            memcpy(planes + (m * s.h + y) * s.w + x, plane + m * BLOCK, pixels * sizeof(float));
    }
}

/* What leads from a pixel to its neighbours [h, n]: above the first row and below the last there are these again. */
static void lead(Shape s, Around around, int64_t row, int64_t c, int64_t *shift) {
    for (int64_t y = 0; y < s.h; y++)
        for (int64_t i = 0; i < around.n; i++) {
            int64_t dilation = around.dilations[i / EIGHT], at = y + dilation * DOWN[i % EIGHT];
            *shift++ = ((at < 0 ? 0 : smaller(at, s.h - 1)) - y) * row + dilation * ACROSS[i % EIGHT] * c;
        }
}

/* Memory to work in. */
typedef struct {
    size_t bytes;
    char at[];
} Room;

/* That of the last call, for the next: to have it cleared page by page again takes as long as a map. */
static Room *kept;

static Room *room_of(size_t bytes) {
    Room *room = __atomic_exchange_n(&kept, NULL, __ATOMIC_ACQ_REL);
    if (room && room->bytes >= bytes) return room;
    free(room);
    room = malloc(sizeof(Room) + bytes);
    if (!room) return NULL;
    room->bytes = bytes;
#if defined(__linux__)
    if (bytes > MAPPED) { /* and is new: in large pages, or not */
        size_t into = (size_t)(-(uintptr_t)room & 4095);
        madvise((char *)room + into, (bytes - into) & ~(size_t)4095, MADV_HUGEPAGE);
    }
#endif
    return room;
}

static void leave(Room *room) {
#if MANY_PROCESSORS
    _mm_sfence(); /* another thread may write there next */
#endif
    if (room->bytes <= KEPT) room = __atomic_exchange_n(&kept, room, __ATOMIC_ACQ_REL);
    free(room);
}
