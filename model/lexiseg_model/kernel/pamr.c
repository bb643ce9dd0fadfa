/* Pixel-adaptive mask refinement: `lexiseg_model.masks.pamr`, one pass over the rows for each iteration. */
#include "kernel.h"

#include <math.h>

enum { MAPS = 4, ACROSS = 16 }; /* whose sums stay in registers */
static const float EPSILON = 1e-8f, SHARPNESS = 0.1f;

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

/* Sums of `n` neighbours at ACROSS pixels of a map or of MAPS, `plane` numbers apart; weights [n, w]. Macros, so that
 * the sums have names and stay in registers. */
#define ADD(which)                                                    \
    do {                                                              \
        const Eight *seen = (const Eight *)(near + (which) * plane);  \
        left##which += seen[0] * weight[0];                           \
        right##which += seen[1] * weight[1];                          \
    } while (0)
#define KEEP(which)                                                   \
    do {                                                              \
        Eight *kept = (Eight *)(there + (which) * plane);             \
        kept[0] = left##which;                                        \
        kept[1] = right##which;                                       \
    } while (0)

/* One row of k maps; shift [n] leads from a pixel to its neighbours. */
WIDEST static void mix_row(const float *from, int64_t k, int64_t plane, const float *weights, const int64_t *shift,
                           int64_t n, int64_t w, float *restrict to) {
    int64_t last = w - ACROSS; /* where the last block begins, which may do some pixels once more */
    for (int64_t x = 0; last >= 0; x = x + ACROSS < last ? x + ACROSS : last) {
        int64_t m = 0;
        for (; m + MAPS <= k; m += MAPS) {
            const float *here = from + m * plane + x;
            float *there = to + m * plane + x;
            Eight left0 = {0}, left1 = {0}, left2 = {0}, left3 = {0};
            Eight right0 = {0}, right1 = {0}, right2 = {0}, right3 = {0};
            for (int64_t i = 0; i < n; i++) {
                const Eight *weight = (const Eight *)(weights + i * w + x);
                const float *near = here + shift[i];
                ADD(0);
                ADD(1);
                ADD(2);
                ADD(3);
            }
            KEEP(0);
            KEEP(1);
            KEEP(2);
            KEEP(3);
        }
        for (; m < k; m++) {
            const float *here = from + m * plane + x;
            float *there = to + m * plane + x;
            Eight left0 = {0}, right0 = {0};
            for (int64_t i = 0; i < n; i++) {
                const Eight *weight = (const Eight *)(weights + i * w + x);
                const float *near = here + shift[i];
                ADD(0);
            }
            KEEP(0);
        }
        if (x == last) return;
    }
    for (int64_t m = 0; m < k; m++) /* a narrow picture */
        for (int64_t x = 0; x < w; x++) {
            float sum = 0;
            for (int64_t i = 0; i < n; i++) sum += from[m * plane + x + shift[i]] * weights[i * w + x];
            to[m * plane + x] = sum;
        }
}

/* exp(x) for x <= 0, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    float n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* the nearest whole number */
    x = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * x + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    union {
        int32_t bits;
        float number;
    } power = {((int32_t)n + 127) << 23};
    return (p * x * x + x + 1.0f) * power.number;
}

/* Weights [n, w] of one row of an image of `c` channels, `plane` numbers apart; room for 3 * w numbers. */
WIDEST static void weigh_row(const float *image, int64_t c, int64_t plane, const int64_t *shift, int64_t n, float samples,
                             int64_t w, float *restrict room, float *restrict weights) {
    float *total = room, *squares = room + w, *scale = room + 2 * w;
    memset(weights, 0, (size_t)(n * w) * sizeof(float));
    for (int64_t channel = 0; channel < c; channel++) {
        const float *here = image + channel * plane;
        memset(total, 0, (size_t)(2 * w) * sizeof(float));
        for (int64_t i = 0; i < n; i++) /* around the pixel itself, where rounding does little to small squares */
            for (int64_t x = 0; x < w; x++) {
                float difference = here[x + shift[i]] - here[x];
                total[x] += difference;
                squares[x] += difference * difference;
            }
        for (int64_t x = 0; x < w; x++) {
            float variance = (squares[x] - total[x] * total[x] / samples) / (samples - 1);
            scale[x] = EPSILON + SHARPNESS * sqrtf(variance > 0 ? variance : 0);
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t x = 0; x < w; x++) weights[i * w + x] -= fabsf(here[x + shift[i]] - here[x]) / scale[x];
    }
    float *most = total, *sum = squares;
    for (int64_t x = 0; x < w; x++) most[x] = -INFINITY, sum[x] = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t x = 0; x < w; x++) most[x] = weights[i * w + x] > most[x] ? weights[i * w + x] : most[x];
    for (int64_t i = 0; i < n; i++)
        for (int64_t x = 0; x < w; x++) {
            float weight = exponential((weights[i * w + x] - most[x]) / (float)c);
            weights[i * w + x] = weight;
            sum[x] += weight;
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t x = 0; x < w; x++) weights[i * w + x] /= sum[x];
}

/* Repeats the outermost pixels of [h, w] `reach` further in every direction. */
static void repeat_border(float *padded, int64_t h, int64_t w, int64_t reach) {
    int64_t wide = w + 2 * reach;
    for (int64_t y = reach; y < reach + h; y++) {
        float *row = padded + y * wide;
        for (int64_t x = 0; x < reach; x++) {
            row[x] = row[reach];
            row[reach + w + x] = row[reach + w - 1];
        }
    }
    for (int64_t y = 0; y < reach; y++) {
        memcpy(padded + y * wide, padded + reach * wide, (size_t)wide * sizeof(float));
        memcpy(padded + (reach + h + y) * wide, padded + (reach + h - 1) * wide, (size_t)wide * sizeof(float));
    }
}

/* Planes [k, h, w] amid room for a border of `reach`. */
static void spread(const float *planes, int64_t k, int64_t h, int64_t w, int64_t reach, float *padded) {
    int64_t wide = w + 2 * reach, plane = (h + 2 * reach) * wide;
    for (int64_t m = 0; m < k; m++)
        for (int64_t y = 0; y < h; y++)
            memcpy(padded + m * plane + (reach + y) * wide + reach, planes + (m * h + y) * w, (size_t)w * sizeof(float));
}

/* Maps [k, h, w], refined in place by an image [c, h, w]; down and across [n]: how far the neighbours are, `reach` at
 * most; `samples`: neighbours, and pixels themselves, that a deviation is taken of. */
API int64_t lexiseg_pamr(float *maps, int64_t k, int64_t h, int64_t w, const float *image, int64_t c,
                         const int64_t *down, const int64_t *across, int64_t n, int64_t reach, int64_t samples,
                         int64_t iterations) {
    int64_t wide = w + 2 * reach, plane = (h + 2 * reach) * wide, begin = reach * wide + reach;
    int64_t planes = 2 * k > c ? 2 * k : c;
    int64_t *shift = malloc((size_t)n * sizeof(int64_t) + (size_t)(planes * plane + h * n * w + 3 * w) * sizeof(float));
    if (!shift) return OUT_OF_MEMORY;
    float *from = (float *)(shift + n), *to = from + k * plane, *weights = from + planes * plane;
    float *room = weights + h * n * w;
    for (int64_t i = 0; i < n; i++) shift[i] = down[i] * wide + across[i];
    spread(image, c, h, w, reach, from);
    for (int64_t m = 0; m < c; m++) repeat_border(from + m * plane, h, w, reach);
    for (int64_t y = 0; y < h; y++)
        weigh_row(from + begin + y * wide, c, plane, shift, n, (float)samples, w, room, weights + y * n * w);
    spread(maps, k, h, w, reach, from);
    for (int64_t round = 0; round < iterations; round++) {
        for (int64_t m = 0; m < k; m++) repeat_border(from + m * plane, h, w, reach);
        for (int64_t y = 0; y < h; y++)
            mix_row(from + begin + y * wide, k, plane, weights + y * n * w, shift, n, w, to + begin + y * wide);
        float *other = from;
        from = to;
        to = other;
    }
    for (int64_t m = 0; m < k; m++)
        for (int64_t y = 0; y < h; y++)
            memcpy(maps + (m * h + y) * w, from + begin + m * plane + y * wide, (size_t)w * sizeof(float));
    free(shift);
    return 0;
}
