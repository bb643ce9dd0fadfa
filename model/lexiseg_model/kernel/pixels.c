/* Pictures made smaller: exact sums of whole numbers, rounded once. */
#include "kernel.h"

WIDEST static void halve_row(const uint8_t *upper, const uint8_t *lower, int64_t w, uint8_t *restrict halved) {
    for (int64_t x = 0; x < w; x++) {
        uint16_t sum = (uint16_t)(upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]);
        halved[x] = (uint8_t)((sum + 1 + (sum >> 2 & 1)) >> 2);
    }
}

/* Means of 2 x 2 pixels, of two that are as near the even one: planes [n, 2h, 2w] -> halved [n, h, w]. */
API int64_t lexiseg_halve(const uint8_t *planes, int64_t n, int64_t h, int64_t w, uint8_t *halved) {
    for (int64_t row = 0; row < n * h; row++) {
        const uint8_t *upper = planes + 4 * row * w;
        halve_row(upper, upper + 2 * w, w, halved + row * w);
    }
    return 0;
}

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

/* Means of areas: pixels [.., width, 3] -> planes [3, h, w]. Each is made of pixels from `first` on, across [w] and down
 * [h], with weights [w, x_taps] and [h, y_taps]; one of 0 is of nothing. */
API int64_t lexiseg_shrink(const uint8_t *pixels, int64_t width, const int64_t *x_first, const float *x_weights,
                           int64_t x_taps, int64_t w, const int64_t *y_first, const float *y_weights, int64_t y_taps,
                           int64_t h, uint8_t *planes) {
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
