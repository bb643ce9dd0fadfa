/* The two steps of PAMR at some blocks of a row: read by `pamr.c` once for each width of vectors. */
#include "vectors.h"
#include "exponential.h"

#define TILE(channels) (BLOCK * (channels) / LANES) /* vectors of a block of so many maps */

/* The weights of a block, each as often as a pixel has maps, at vector v of them. */
#if LANES == 16
#define LANE ((WHOLES){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#else
#define LANE ((WHOLES){0, 1, 2, 3, 4, 5, 6, 7})
#endif
#define REPEATED(weight, v, CHANNELS)                                                                                 \
    __builtin_shuffle(((const FLOATS *)(weight))[(v) / (CHANNELS)],                                                   \
                      (v) % (CHANNELS) * (LANES / (CHANNELS)) + LANE / (CHANNELS))
#define ONE(weight, v, CHANNELS) (weight)[v]
#define EACH_ITS_OWN(weight, v, CHANNELS) ((const FLOATS *)(weight))[v]

/* Weighted sums of `n` neighbours at so many blocks, of COUNT vectors from FIRST on: few enough to stay in registers,
 * and enough not to wait for each other. Maps [BLOCK, CHANNELS], weights [n, BLOCK]; shift [n] leads to neighbours. */
#define SUMS(name, CHANNELS, BLOCKS, FIRST, COUNT, WEIGHT)                                                            \
    INLINE void NAMED(name)(const float *from, const float *weights, const int64_t *shift, int64_t n, float *to) {    \
        FLOATS sum[BLOCKS][COUNT];                                                                                    \
        EACH(b, BLOCKS) EACH(v, COUNT) sum[b][v] = (FLOATS){0};                                                       \
        for (int64_t i = 0; i < n; i++) {                                                                             \
            const FLOATS *near = (const FLOATS *)(from + shift[i]) + FIRST;                                           \
            EACH(b, BLOCKS) {                                                                                         \
                const float *weight = weights + (b * n + i) * BLOCK;                                                  \
                if (!FIRST) __builtin_prefetch(weight + AHEAD * n * BLOCK, 0, 2);                                     \
                EACH(v, COUNT) sum[b][v] += near[b * TILE(CHANNELS) + v] * WEIGHT(weight, FIRST + v, CHANNELS);       \
            }                                                                                                         \
        }                                                                                                             \
        EACH(b, BLOCKS) EACH(v, COUNT) ((FLOATS *)to)[b * TILE(CHANNELS) + FIRST + v] = sum[b][v];                    \
    }
#define ALONG(CHANNELS, BLOCKS, sums)                                                                                 \
    for (; blocks >= BLOCKS; blocks -= BLOCKS, weights += BLOCKS * n * BLOCK, from += BLOCKS * BLOCK * CHANNELS,      \
                             to += BLOCKS * BLOCK * CHANNELS) {                                                       \
        sums                                                                                                          \
    }
#define PARAMETERS                                                                                                    \
    (const float *from, int64_t blocks, const float *weights, const int64_t *shift, int64_t n, const Ahead *ahead,    \
     float *to)
#define SUM(name) NAMED(name)(from, weights, shift, n, to);

/* Blocks of a row of CHANNELS maps; so many at once as fill eight registers or sixteen. */
#define MIX(CHANNELS, BLOCKS, WEIGHT)                                                                                 \
    SUMS(sums_##CHANNELS, CHANNELS, BLOCKS, 0, TILE(CHANNELS), WEIGHT)                                                \
    SUMS(sum_##CHANNELS, CHANNELS, 1, 0, TILE(CHANNELS), WEIGHT)                                                      \
    ENTRY static void NAMED(mix_##CHANNELS) PARAMETERS {                                                              \
        (void)ahead;                                                                                                  \
        ALONG(CHANNELS, BLOCKS, SUM(sums_##CHANNELS))                                                                 \
        ALONG(CHANNELS, 1, SUM(sum_##CHANNELS))                                                                       \
    }
#define MIX_BY_HALVES(CHANNELS)                                                                                       \
    SUMS(left_##CHANNELS, CHANNELS, 1, 0, 8, ONE)                                                                     \
    SUMS(right_##CHANNELS, CHANNELS, 1, 8, 8, ONE)                                                                    \
    ENTRY static void NAMED(mix_##CHANNELS) PARAMETERS {                                                              \
        (void)ahead;                                                                                                  \
        ALONG(CHANNELS, 1, SUM(left_##CHANNELS) SUM(right_##CHANNELS))                                                \
    }
#if LANES == 16
MIX(8, 1, REPEATED)
MIX(4, 2, REPEATED)
MIX(1, 4, EACH_ITS_OWN)
#elif LANES == 8
MIX_BY_HALVES(8)
MIX(4, 1, REPEATED)
MIX(1, 4, EACH_ITS_OWN)
#else
MIX_BY_HALVES(4)
MIX(1, 2, EACH_ITS_OWN)
#endif

#define MAGNITUDE(x) ((FLOATS)((WHOLES)(x) & 0x7fffffff))

/* Weights at so many vectors of pixels of an image of `c` channels, `plane` numbers apart. Their lines are asked for
 * while the differences are taken. */
#define WEIGH(name, VECTORS)                                                                                          \
    INLINE void NAMED(name)(const float *image, int64_t c, int64_t plane, const int64_t *shift, int64_t n,            \
                            float samples, float *weights) {                                                          \
        FLOATS apart[n][VECTORS], logit[n][VECTORS], most[VECTORS], sum[VECTORS];                                     \
        for (int64_t channel = 0; channel < c; channel++, image += plane) {                                           \
            FLOATS own[VECTORS], total[VECTORS], squares[VECTORS], scale[VECTORS];                                    \
            EACH(v, VECTORS) own[v] = ((const FLOATS *)image)[v];                                                     \
            EACH(v, VECTORS) total[v] = squares[v] = (FLOATS){0};                                                     \
            for (int64_t i = 0; i < n; i++) /* around the pixel itself: rounding does little to small squares */      \
                EACH(v, VECTORS) {                                                                                    \
                    FLOATS difference = ((const FLOATS *)(image + shift[i]))[v] - own[v];                             \
                    total[v] += difference;                                                                           \
                    squares[v] += difference * difference;                                                            \
                    apart[i][v] = MAGNITUDE(difference);                                                              \
                    if (!channel) __builtin_prefetch(weights + (v * LANES / BLOCK * n + i) * BLOCK, 1);               \
                }                                                                                                     \
            EACH(v, VECTORS) {                                                                                        \
                float deviation[LANES];                                                                               \
                *(FLOATS *)deviation = (squares[v] - total[v] * total[v] / samples) / (samples - 1);                  \
                for (int x = 0; x < LANES; x++) deviation[x] = sqrtf(deviation[x] > 0 ? deviation[x] : 0);            \
                scale[v] = -1.0f / ((float)c * (EPSILON + SHARPNESS * *(FLOATS *)deviation));                         \
            }                                                                                                         \
            for (int64_t i = 0; i < n; i++)                                                                           \
                EACH(v, VECTORS) logit[i][v] = apart[i][v] * scale[v] + (channel ? logit[i][v] : (FLOATS){0});        \
        }                                                                                                             \
        EACH(v, VECTORS) {                                                                                            \
            most[v] = (FLOATS){0} - INFINITY;                                                                         \
            sum[v] = (FLOATS){0};                                                                                     \
        }                                                                                                             \
        for (int64_t i = 0; i < n; i++) EACH(v, VECTORS) most[v] = LARGER(logit[i][v], most[v]);                      \
        for (int64_t i = 0; i < n; i++)                                                                               \
            EACH(v, VECTORS) {                                                                                        \
                logit[i][v] -= most[v];                                                                               \
                NAMED(exponential)(&logit[i][v]);                                                                     \
                sum[v] += logit[i][v];                                                                                \
            }                                                                                                         \
        EACH(v, VECTORS) sum[v] = 1.0f / sum[v];                                                                      \
        for (int64_t i = 0; i < n; i++)                                                                               \
            EACH(v, VECTORS) {                                                                                        \
                int x = v * LANES;                                                                                    \
                *(FLOATS *)(weights + (x / BLOCK * n + i) * BLOCK + x % BLOCK) = logit[i][v] * sum[v];                \
            }                                                                                                         \
    }
WEIGH(weigh_two, 2)
WEIGH(weigh_one, 1)

/* Weights [blocks, n, BLOCK] of a row. */
ENTRY static void NAMED(weigh)(const float *image, int64_t blocks, int64_t c, int64_t plane, const int64_t *shift,
                               int64_t n, float samples, float *weights) {
    int64_t x = 0, end = blocks * BLOCK;
    for (; x + 2 * LANES <= end; x += 2 * LANES)
        NAMED(weigh_two)(image + x, c, plane, shift, n, samples, weights + x / BLOCK * BLOCK * n + x % BLOCK);
    if (x < end) NAMED(weigh_one)(image + x, c, plane, shift, n, samples, weights + x * n);
}

#undef TILE
#undef LANE
#undef REPEATED
#undef ONE
#undef EACH_ITS_OWN
#undef SUMS
#undef ALONG
#undef PARAMETERS
#undef SUM
#undef MIX
#undef MIX_BY_HALVES
#undef MAGNITUDE
#undef WEIGH
#undef LANES
#undef NAMED
#undef ENTRY
