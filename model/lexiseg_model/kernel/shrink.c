/* Pictures made smaller by any share: each pixel the mean of the area that it covers. Sums are of floats in OpenCV's
 * order, and rounded once: the same to the bit for any width of vectors. */
#include "kernel.h"

enum { COLOURS = 3 };

typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

/* Sums [w] of a row of n numbers, three for each pixel: of `taps` pixels from `first` on, by their weights. The fourth
 * number of a sum, of which nothing is used, belongs to the next pixel; `room` for what is read beyond the row. */
WIDEST static void across_row(const uint8_t *row, int64_t n, const int64_t *first, const float *weights, int64_t taps,
                              int64_t w, float *restrict room, float *restrict sums) {
    for (int64_t i = 0; i < n; i++) room[i] = row[i];
#define ACROSS(n_taps)                                                                                                 \
    for (int64_t x = 0; x < w; x++, weights += (n_taps)) {                                                             \
        const float *seen = room + COLOURS * first[x];                                                                 \
        Four sum = {0};                                                                                                \
        for (int64_t i = 0; i < (n_taps); i++) sum += *(const Four *)(seen + COLOURS * i) * weights[i];                \
        *(Four *)(sums + 4 * x) = sum;                                                                                 \
    }
    /* Photographs of half a megapixel are made of two or three pixels each way: without a loop in the loop. */
    if (taps == 2)
        ACROSS(2)
    else if (taps == 3)
        ACROSS(3)
    else
        ACROSS(taps)
#undef ACROSS
}

WIDEST static void add_row(const float *restrict row, float weight, int64_t n, float *restrict sums) {
    for (int64_t x = 0; x < n; x++) sums[x] += row[x] * weight;
}

/* Sums [w, 4] to the nearest whole numbers, of two the even one: a row of each of three planes. */
WIDEST static void round_row(const float *restrict sums, int64_t w, int64_t plane, uint8_t *restrict rounded) {
    for (int64_t colour = 0; colour < COLOURS; colour++)
        for (int64_t x = 0; x < w; x++) {
            float number = (sums[4 * x + colour] + 12582912.0f) - 12582912.0f;
            rounded[colour * plane + x] = (uint8_t)(number > 255.0f ? 255 : (int32_t)number);
        }
}

#if MANY_PROCESSORS
#include <immintrin.h>
#define PAIRS __attribute__((target("avx2")))

/* Photographs are mostly shrunk to between a half and all of their size: then a pixel is made of NEAR at most, and it
 * and the next of five together, whose colours fit one vector. */
enum { NEAR = 3, FARTHEST = 2, QUAD = 16 };

/* Where each colour of a tap stands among the bytes of two pixels, `apart` from each other: the place of a zero, too. */
PAIRS static __m256i places(int tap, int apart) {
    int32_t at[8];
    for (int i = 0; i < 8; i++) {
        int pixel = tap + (i < 4 ? 0 : apart), colour = i % 4;
        at[i] = (int32_t)0x80808000 | (colour < COLOURS ? COLOURS * pixel + colour : 0x80);
    }
    return _mm256_loadu_si256((const __m256i *)at);
}

/* As `across_row`, two pixels at once: row [.., 3] with a vector's bytes to read behind it. Of each pair the first byte
 * and how far apart its pixels are, and weights [NEAR, 8]; from [FARTHEST + 1, NEAR] as `places`. */
PAIRS static void across_pairs(const uint8_t *row, const int32_t *pair, int64_t pairs, const float *weights,
                               const __m256i *from, float *sums) {
    for (int64_t i = 0; i < pairs; i++, pair += 2, weights += 8 * NEAR, sums += 8) {
        __m256i seen = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(row + pair[0])));
        const __m256i *tap = from + NEAR * pair[1];
#define TAP(i) _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_shuffle_epi8(seen, tap[i])), _mm256_load_ps(weights + 8 * (i)))
        _mm256_store_ps(sums, _mm256_add_ps(_mm256_add_ps(TAP(0), TAP(1)), TAP(2)));
#undef TAP
    }
}

/* Four pixels of `taps` rows [.., 4] by their weights, added up and rounded to even: red, green, blue and nothing of
 * each, four bytes of a kind side by side. */
PAIRS static inline __m128i rounded_four(const float *const *rows, const float *weights, int64_t taps, int64_t at) {
    __m256 left = _mm256_setzero_ps(), right = left;
    for (int64_t i = 0; i < taps; i++) {
        __m256 weight = _mm256_set1_ps(weights[i]);
        left = _mm256_add_ps(left, _mm256_mul_ps(_mm256_load_ps(rows[i] + at), weight));
        right = _mm256_add_ps(right, _mm256_mul_ps(_mm256_load_ps(rows[i] + at + 8), weight));
    }
    __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(left), _mm256_cvtps_epi32(right)); /* pixels 0, 2; 1, 3 */
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    return _mm_shuffle_epi8(bytes, _mm_setr_epi8(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7, 15));
}

/* Rows [.., 4], of which a multiple of QUAD pixels is read, to a row of each of three planes. */
PAIRS static void down_rows(const float *const *rows, const float *weights, int64_t taps, int64_t w, int64_t plane,
                            uint8_t *rounded) {
    for (int64_t x = 0; x < w; x += QUAD) {
        __m128i four[4], colour[COLOURS];
        for (int64_t i = 0; i < 4; i++) four[i] = rounded_four(rows, weights, taps, 4 * (x + 4 * i));
        __m128i one = _mm_unpacklo_epi32(four[0], four[1]), two = _mm_unpacklo_epi32(four[2], four[3]);
        colour[0] = _mm_unpacklo_epi64(one, two);
        colour[1] = _mm_unpackhi_epi64(one, two);
        colour[2] = _mm_unpacklo_epi64(_mm_unpackhi_epi32(four[0], four[1]), _mm_unpackhi_epi32(four[2], four[3]));
        for (int64_t i = 0; i < COLOURS; i++) {
            uint8_t *to = rounded + i * plane + x;
            if (w - x >= QUAD) _mm_storeu_si128((__m128i *)to, colour[i]);
            else memcpy(to, &colour[i], (size_t)(w - x));
        }
    }
}

/* Whether the pixels of a side are made of few enough, near enough to each other. */
static int are_near(const int64_t *first, int64_t taps, int64_t w) {
    if (taps != NEAR || !__builtin_cpu_supports("avx2")) return 0;
    for (int64_t x = 0; x + 1 < w; x += 2)
        if (first[x + 1] - first[x] > FARTHEST) return 0;
    return 1;
}

/* `lexiseg_shrink` of a side whose pixels `are_near`: each row is made once, and as many are kept as one is made of. */
PAIRS static int64_t shrink_near(const uint8_t *pixels, int64_t width, const int64_t *x_first, const float *x_weights,
                                 int64_t w, const int64_t *y_first, const float *y_weights, int64_t y_taps, int64_t h,
                                 uint8_t *planes) {
    int64_t n = COLOURS * width, pairs = (w + 1) / 2, length = 4 * ((w + QUAD - 1) / QUAD * QUAD);
    size_t floats = (size_t)(y_taps * length + 8 * NEAR * pairs);
    void *space = calloc(1, floats * sizeof(float) + (size_t)(2 * pairs) * sizeof(int32_t) + (size_t)n + 4 * QUAD +
                                (size_t)y_taps * (sizeof(int64_t) + sizeof(float *)));
    if (!space) return OUT_OF_MEMORY;
    float *kept = (float *)(((uintptr_t)space + 31) & ~(uintptr_t)31), *weights = kept + y_taps * length;
    int64_t *of = (int64_t *)(kept + floats); /* which row is kept in a place, counted from 1 */
    const float **rows = (const float **)(of + y_taps);
    int32_t *pair = (int32_t *)(rows + y_taps);
    uint8_t *row = (uint8_t *)(pair + 2 * pairs);
    __m256i from[FARTHEST + 1][NEAR];
    for (int apart = 0; apart <= FARTHEST; apart++)
        for (int tap = 0; tap < NEAR; tap++) from[apart][tap] = places(tap, apart);
    for (int64_t x = 0; x < w; x++) {
        pair[x] = (int32_t)(x % 2 ? x_first[x] - x_first[x - 1] : COLOURS * x_first[x]);
        for (int64_t i = 0; i < 4 * NEAR; i++)
            weights[(x / 2 * NEAR + i / 4) * 8 + x % 2 * 4 + i % 4] = x_weights[x * NEAR + i / 4];
    }
    for (int64_t y = 0; y < h; y++, y_weights += y_taps) {
        for (int64_t i = 0; i < y_taps; i++) {
            int64_t seen = y_first[y] + i, place = seen % y_taps;
            rows[i] = kept + place * length;
            if (y_weights[i] == 0 || of[place] == seen + 1) continue; /* what weighs nothing may be any */
            memcpy(row, pixels + seen * n, (size_t)n);
            across_pairs(row, pair, pairs, weights, from[0], kept + place * length);
            of[place] = seen + 1;
        }
        if (y_taps == NEAR) down_rows(rows, y_weights, NEAR, w, h * w, planes + y * w);
        else down_rows(rows, y_weights, y_taps, w, h * w, planes + y * w);
    }
    free(space);
    return 0;
}
#endif

/* Means of areas: pixels [.., width, 3] -> planes [3, h, w]. Each is made of pixels from `first` on, across [w] and down
 * [h], with weights [w, x_taps] and [h, y_taps]; one of 0 is of nothing. */
API int64_t lexiseg_shrink(const uint8_t *pixels, int64_t width, const int64_t *x_first, const float *x_weights,
                           int64_t x_taps, int64_t w, const int64_t *y_first, const float *y_weights, int64_t y_taps,
                           int64_t h, uint8_t *planes) {
#if MANY_PROCESSORS
    if (are_near(x_first, x_taps, w))
        return shrink_near(pixels, width, x_first, x_weights, w, y_first, y_weights, y_taps, h, planes);
#endif
    int64_t n = COLOURS * width, beyond = COLOURS * x_taps + 1;
    float *row = malloc((size_t)(8 * w + n + beyond) * sizeof(float));
    if (!row) return OUT_OF_MEMORY;
    float *sums = row + 4 * w, *room = sums + 4 * w;
    memset(room + n, 0, (size_t)beyond * sizeof(float));
    int64_t kept = -1;
    for (int64_t y = 0; y < h; y++) {
        memset(sums, 0, (size_t)(4 * w) * sizeof(float));
        for (int64_t i = 0; i < y_taps; i++) {
            float weight = y_weights[y * y_taps + i];
            if (weight == 0) continue;
            if (y_first[y] + i != kept) {
                kept = y_first[y] + i;
                across_row(pixels + kept * n, n, x_first, x_weights, x_taps, w, room, row);
            }
            add_row(row, weight, 4 * w, sums);
        }
        round_row(sums, w, h * w, planes + y * w);
    }
    free(row);
    return 0;
}
