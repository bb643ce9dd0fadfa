/* exp, as 2^n times a polynomial (Cephes' coefficients): of numbers or of vectors of them. */
#ifndef LEXISEG_POWER_H
#define LEXISEG_POWER_H
#include <stdint.h>

/* Of x from -87 to 0: n, the nearest whole number of halvings, and p, e to the power of what is left in x; the last nine
 * bits of `two` are those of n. Each step is taken for `each` of several numbers, so that none waits for the one before
 * it. */
#define SPLIT_POWERS(each, x, two, n, p)                             \
    do {                                                             \
        each two = x * 1.44269504088896341f + 12582912.0f;           \
        each n = two - 12582912.0f;                                  \
        each x = (x - n * 0.693359375f) + n * 2.12194440e-4f;        \
        each p = x * 1.9875691500e-4f + 1.3981999507e-3f;            \
        each p = p * x + 8.3334519073e-3f;                           \
        each p = p * x + 4.1665795894e-2f;                           \
        each p = p * x + 1.6666665459e-1f;                           \
        each p = p * x + 5.0000001201e-1f;                           \
        each p = p * x * x + x + 1.0f;                               \
    } while (0)
#define SPLIT_POWER(x, n, p) SPLIT_POWERS(, x, n, n, p)

/* exp(x) for -87 <= x <= 0, to 2 units in the last place, in loops that a compiler brings into vectors. */
static inline __attribute__((always_inline)) float power_of_e(float x) {
    float n, p;
    SPLIT_POWER(x, n, p);
    union {
        int32_t bits;
        float number;
    } two = {.bits = ((int32_t)n + 127) << 23};
    return p * two.number;
}
#endif
