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
