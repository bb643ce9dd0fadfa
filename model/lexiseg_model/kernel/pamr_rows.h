/* The two steps of PAMR at one row of a panel: read by `pamr.c` once for each width of vectors. */
#include "vectors.h"

/* Weighted sums of `n` neighbours, of so many maps, `plane` numbers apart, at so many vectors of pixels: few enough to
 * stay in registers, and enough not to wait for each other. Weights [n, across]; shift [n] leads to the neighbours. */
#define SUMS(name, MAPS, VECTORS)                                                                                   \
    INLINE void NAMED(name)(const float *from, int64_t plane, const float *weights, int64_t across,                 \
                            const int64_t *shift, int64_t n, float *to) {                                           \
        FLOATS sum[MAPS][VECTORS];                                                                                  \
        EACH(m, MAPS) EACH(v, VECTORS) sum[m][v] = (FLOATS){0};                                                     \
        for (int64_t i = 0; i < n; i++) {                                                                           \
            const FLOATS *weight = (const FLOATS *)(weights + i * across);                                          \
            const float *near = from + shift[i];                                                                    \
            EACH(m, MAPS) EACH(v, VECTORS) sum[m][v] += ((const FLOATS *)(near + m * plane))[v] * weight[v];        \
        }                                                                                                           \
        EACH(m, MAPS) EACH(v, VECTORS)((FLOATS *)(to + m * plane))[v] = sum[m][v];                                  \
    }
SUMS(four, 4, 2)
SUMS(three, 3, 2)
SUMS(two, 2, 2)
SUMS(one, 1, 2)
SUMS(two_far, 2, 4)
SUMS(one_far, 1, 4)

#define ALONG(name, VECTORS)                        \
    for (; x + VECTORS * LANES <= across; x += VECTORS * LANES) \
    NAMED(name)(from + x, plane, weights + x, across, shift, n, to + x)
/* `across` pixels of a row of k maps. */
ENTRY static void NAMED(mix)(const float *from, int64_t k, int64_t plane, const float *weights, int64_t across,
                             const int64_t *shift, int64_t n, float *to) {
    for (; k >= 4; k -= 4, from += 4 * plane, to += 4 * plane) {
        int64_t x = 0;
        ALONG(four, 2);
    }
    int64_t x = 0;
    if (k == 3) ALONG(three, 2);
    if (k == 2) {
        ALONG(two_far, 4);
        ALONG(two, 2);
    }
    if (k == 1) {
        ALONG(one_far, 4);
        ALONG(one, 2);
    }
}

#define MAGNITUDE(x) ((FLOATS)((WHOLES)(x) & 0x7fffffff))

/* exp(x) in place for x <= 0, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
INLINE void NAMED(exponential)(FLOATS *number) {
    FLOATS x = *number, least = (FLOATS){0} - 87.0f;
    x = LARGER(x, least);
    FLOATS n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* the nearest whole number */
    x = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    FLOATS p = x * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    *number = (p * x * x + x + 1.0f) * (FLOATS)((__builtin_convertvector(n, WHOLES) + 127) << 23);
}

/* What the differences of a channel are divided by at BLOCK pixels, negative. */
INLINE void NAMED(scales)(const float *from, const int64_t *shift, int64_t n, float samples, float c, FLOATS *scale) {
    FLOATS total[VECTORS], squares[VECTORS];
    EACH(v, VECTORS) total[v] = squares[v] = (FLOATS){0};
    for (int64_t i = 0; i < n; i++) /* around the pixel itself, where rounding does little to small squares */
        EACH(v, VECTORS) {
            FLOATS difference = ((const FLOATS *)(from + shift[i]))[v] - ((const FLOATS *)from)[v];
            total[v] += difference;
            squares[v] += difference * difference;
        }
    float deviation[BLOCK];
    EACH(v, VECTORS) ((FLOATS *)deviation)[v] = (squares[v] - total[v] * total[v] / samples) / (samples - 1);
    for (int x = 0; x < BLOCK; x++) deviation[x] = sqrtf(deviation[x] > 0 ? deviation[x] : 0);
    EACH(v, VECTORS) scale[v] = -1.0f / (c * (EPSILON + SHARPNESS * ((FLOATS *)deviation)[v]));
}

/* Weights [n, across] of a row of an image of `c` channels, `plane` numbers apart. */
ENTRY static void NAMED(weigh)(const float *image, int64_t c, int64_t plane, const int64_t *shift, int64_t n,
                               float samples, int64_t across, float *weights) {
    for (int64_t x = 0; x < across; x += BLOCK, image += BLOCK, weights += BLOCK) {
        for (int64_t channel = 0; channel < c; channel++) {
            const float *from = image + channel * plane;
            FLOATS scale[VECTORS];
            NAMED(scales)(from, shift, n, samples, (float)c, scale);
            for (int64_t i = 0; i < n; i++)
                EACH(v, VECTORS) {
                    FLOATS difference = ((const FLOATS *)(from + shift[i]))[v] - ((const FLOATS *)from)[v];
                    FLOATS *weight = (FLOATS *)(weights + i * across) + v;
                    *weight = MAGNITUDE(difference) * scale[v] + (channel ? *weight : (FLOATS){0});
                }
        }
        EACH(v, VECTORS) {
            float *first = weights + v * LANES;
            FLOATS most = *(FLOATS *)first, sum = {0};
            for (int64_t i = 1; i < n; i++) most = LARGER(*(FLOATS *)(first + i * across), most);
            for (int64_t i = 0; i < n; i++) {
                FLOATS weight = *(FLOATS *)(first + i * across) - most;
                NAMED(exponential)(&weight);
                *(FLOATS *)(first + i * across) = weight;
                sum += weight;
            }
            sum = 1.0f / sum;
            for (int64_t i = 0; i < n; i++) *(FLOATS *)(first + i * across) *= sum;
        }
    }
}

#undef SUMS
#undef ALONG
#undef MAGNITUDE
#undef LANES
#undef VECTORS
#undef NAMED
#undef ENTRY
