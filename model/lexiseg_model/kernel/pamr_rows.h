/* The two steps of PAMR at some blocks of a row: read by `pamr.c` once for each width of vectors. */
#include "vectors.h"
#include "exponential.h"

/* One instruction, where a processor is named for it. */
#undef MOST
#if MANY_PROCESSORS && LANES == 16
#define MOST(a, b) ((FLOATS)_mm512_max_ps((__m512)(a), (__m512)(b)))
#elif MANY_PROCESSORS && LANES == 8
#define MOST(a, b) ((FLOATS)_mm256_max_ps((__m256)(a), (__m256)(b)))
#else
#define MOST(a, b) LARGER(a, b)
#endif

#undef PARAMETERS
#define PARAMETERS                                                                                                    \
    (const float *from, int64_t blocks, const float *weights, Strides strides, const int64_t *shift, int64_t n,        \
     const Ahead *ahead, float *to)

#if LANES < 16 /* by sixteen: pamr_blocks.h and pamr_sixteen.h */
/* Weighted sums of `n` neighbours at so many blocks of a single map: few enough to stay in registers, and enough not to
 * wait for each other. Weights are not asked for: a group before this one has just read them, or they are all that is
 * read. */
INLINE void NAMED(sum_1)(const int blocks, const float *from, const float *weights, Strides strides,
                         const int64_t *shift, int64_t n, float *to) {
    FLOATS sum[4][BLOCK / LANES];
    EACH(b, blocks) EACH(v, BLOCK / LANES) sum[b][v] = (FLOATS){0};
    for (int64_t i = 0; i < n; i++) {
        const FLOATS *near = (const FLOATS *)(from + shift[i]);
        EACH(b, blocks) {
            const float *weight = weights + i / EIGHT * strides.dilation + b * strides.block + i % EIGHT * BLOCK;
            EACH(v, BLOCK / LANES) sum[b][v] += near[b * (BLOCK / LANES) + v] * ((const FLOATS *)weight)[v];
        }
    }
    EACH(b, blocks) EACH(v, BLOCK / LANES)((FLOATS *)to)[b * (BLOCK / LANES) + v] = sum[b][v];
}
#define ALONG(BLOCKS)                                                                                                 \
    for (; blocks >= (BLOCKS); blocks -= BLOCKS) {                                                                    \
        NAMED(sum_1)(BLOCKS, from, weights, strides, shift, n, to);                                                   \
        weights += BLOCKS * strides.block, from += BLOCKS * BLOCK, to += BLOCKS * BLOCK;                              \
    }
/* Blocks of a row of one map; so many at once as fill eight registers or less. */
ENTRY static void NAMED(mix_1) PARAMETERS {
    (void)ahead;
#if LANES > 4
    ALONG(4)
#else
    ALONG(2)
#endif
    ALONG(1)
}

/* Four weights, once for each map of a vector; and what lies `by` pixels further on than a vector, of it and the next. */
#if LANES == 8
#define REPEATED(weight) ((FLOATS)_mm256_broadcast_ps((const __m128 *)(weight)))
#define FURTHER(vector, next, by) ((FLOATS)_mm256_alignr_epi8((__m256i)(next), (__m256i)(vector), 4 * (by)))
#else
#define REPEATED(weight) (*(const FLOATS *)(weight))
#define FURTHER(vector, next, by) /* by two it is one instruction everywhere, else two */                              \
    ((by) == 2   ? __builtin_shuffle(vector, next, (WHOLES){2, 3, 4, 5})                                              \
     : (by) == 1 ? __builtin_shuffle(vector, MEETING(vector, next), (WHOLES){1, 2, 4, 6})                             \
                 : __builtin_shuffle(MEETING(vector, next), next, (WHOLES){0, 2, 5, 6}))
#define MEETING(vector, next) __builtin_shuffle(vector, next, (WHOLES){3, 3, 4, 4})
#endif

/* Adds what lies `by` pixels further on than so many fours, `vectors` each, times its weights. */
ENTRY INLINE void NAMED(add)(const int fours, const int vectors, const int by, const float *near, const float *weights,
                       FLOATS *sum) {
    const FLOATS *from = (const FLOATS *)near;
    EACH(four, fours) {
        FLOATS weight = REPEATED(weights + four * FOUR);
        EACH(v, vectors) {
            FLOATS neighbour = from[four * vectors + v];
            if (by) neighbour = FURTHER(neighbour, from[(four + 1) * vectors + v], by);
            sum[four * vectors + v] += neighbour * weight;
        }
    }
}

/* Weighted sums at so many fours of a block, of which there are few enough to stay in registers, of eight neighbours at
 * a time: row by row, where a dilation is some fours and `by` pixels. */
#define ADD(by, near, weight) NAMED(add)(fours, vectors, by, near, (weight) * BLOCK + weights, sum);
#define AROUND(by)                                                                                                    \
    case by: {                                                                                                        \
        const int64_t left = -(dilation + (FOUR - by) % FOUR) * channels, right = (dilation - by) * channels;         \
        ADD((FOUR - by) % FOUR, above + left, 0) ADD(0, above, 1) ADD(by, above + right, 2)                           \
        ADD((FOUR - by) % FOUR, from + left, 3) ADD(by, from + right, 4)                                              \
        ADD((FOUR - by) % FOUR, below + left, 5) ADD(0, below, 6) ADD(by, below + right, 7)                           \
        break;                                                                                                        \
    }
ENTRY INLINE void NAMED(sums)(const int fours, const int channels, const int first, const float *from, const float *weights,
                        Strides strides, const int64_t *shift, int64_t n, float *to) {
    const int vectors = channels * FOUR / LANES;
    FLOATS sum[8];
    EACH(v, fours * vectors) sum[v] = (FLOATS){0};
    for (int64_t i = 0; i < n; i += EIGHT, weights += strides.dilation) {
        const float *above = from + shift[i + 1], *below = from + shift[i + 6];
        const int64_t dilation = (shift[i + 2] - shift[i + 1]) / channels;
        if (first) EACH(line, EIGHT) __builtin_prefetch(weights + AHEAD * strides.block + line * BLOCK, 0, 2);
        switch (dilation % FOUR) { AROUND(0) AROUND(1) AROUND(2) AROUND(3) }
    }
    EACH(v, fours * vectors)((FLOATS *)to)[v] = sum[v];
}

/* Blocks of a row of CHANNELS maps, by so many fours. */
#define MIX(CHANNELS, FOURS)                                                                                          \
    ENTRY static void NAMED(mix_##CHANNELS) PARAMETERS {                                                              \
        (void)ahead;                                                                                                  \
        for (; blocks; blocks--, weights += strides.block, from += BLOCK * CHANNELS, to += BLOCK * CHANNELS)               \
            for (int four = 0; four < BLOCK; four += FOURS * FOUR)                                                    \
                NAMED(sums)(FOURS, CHANNELS, !four, from + four * CHANNELS, weights + four, strides, shift, n,        \
                            to + four * CHANNELS);                                                                    \
    }
#if LANES == 8
MIX(16, 1)
MIX(8, 2)
MIX(4, 4)
#else
MIX(4, 2)
#endif
#undef REPEATED
#undef FURTHER
#undef MEETING
#undef ADD
#undef AROUND
#undef MIX
#endif

#define MAGNITUDE(x) ((FLOATS)((WHOLES)(x) & 0x7fffffff))
/* Where a vector's weights of a dilation's neighbour lie. */
#define WEIGHT_OF(v, i) (weights + (v) * LANES / BLOCK * strides.block + (i) * BLOCK + (v) * LANES % BLOCK)
/* How a vector of pixels differs from a neighbour, or the neighbour from it: the sign is of no account. */
#define DIFFERENCE(channel, i, v) (own[channel][v] - ((const FLOATS *)(image + (channel) * plane + (i)))[v])
enum { NAMED(SIDE_BY_SIDE) = 2 }; /* neighbours, whose exponentials do not wait for each other */

/* Weights at so many vectors of pixels of an image of `c` channels, `plane` numbers apart. Differences are taken twice, which
 * takes less than to keep them, of all channels side by side, so that none waits for another. Lines of the weights are
 * asked for meanwhile. */
ENTRY INLINE void NAMED(weigh_some)(const int vectors, const int64_t c, const float *image, int64_t plane,
                                    const int64_t *shift, int64_t n, float samples, float *const to, Strides strides) {
    FLOATS own[c][vectors], total[c][vectors], squares[c][vectors], scale[c][vectors], most[2], sum[2];
    float room[n * vectors * LANES + LINE];
    FLOATS(*logit)[vectors] = (FLOATS(*)[vectors])aligned(room);
    float *weights = to;
    for (int64_t channel = 0; channel < c; channel++)
        EACH(v, vectors) {
            own[channel][v] = ((const FLOATS *)(image + channel * plane))[v];
            total[channel][v] = squares[channel][v] = (FLOATS){0};
        }
    /* Around the pixel itself: rounding does little to small squares. */
    for (int64_t first = 0; first < n; first += EIGHT, weights += strides.dilation)
        EACH(i, EIGHT) {
            for (int64_t channel = 0; channel < c; channel++)
                EACH(v, vectors) {
                    FLOATS difference = DIFFERENCE(channel, shift[first + i], v);
                    total[channel][v] += difference;
                    squares[channel][v] += difference * difference;
                }
            EACH(v, vectors) __builtin_prefetch(WEIGHT_OF(v, i), 1);
        }
    for (int64_t channel = 0; channel < c; channel++)
        EACH(v, vectors) {
            float deviation[LANES];
            FLOATS variance = (squares[channel][v] - total[channel][v] * total[channel][v] / samples) / (samples - 1);
            *(FLOATS *)deviation = MOST(variance, (FLOATS){0});
            for (int x = 0; x < LANES; x++) deviation[x] = sqrtf(deviation[x]);
            scale[channel][v] = -1.0f / ((float)c * (EPSILON + SHARPNESS * *(FLOATS *)deviation));
        }
    EACH(v, vectors) {
        most[v] = (FLOATS){0} - INFINITY;
        sum[v] = (FLOATS){0};
    }
    for (int64_t first = 0; first < n; first += EIGHT)
        EACH(i, EIGHT) EACH(v, vectors) {
            FLOATS apart = {0};
            for (int64_t channel = 0; channel < c; channel++)
                apart += MAGNITUDE(DIFFERENCE(channel, shift[first + i], v)) * scale[channel][v];
            logit[first + i][v] = apart;
            most[v] = MOST(apart, most[v]);
        }
    for (int64_t i = 0; i < n; i += NAMED(SIDE_BY_SIDE)) {
        FLOATS power[2 * NAMED(SIDE_BY_SIDE)];
        EACH(j, NAMED(SIDE_BY_SIDE)) EACH(v, vectors)
            power[j * vectors + v] = MOST(logit[i + j][v] - most[v], (FLOATS){0} - 87.0f);
        NAMED(powers)(NAMED(SIDE_BY_SIDE) * vectors, power);
        EACH(j, NAMED(SIDE_BY_SIDE)) EACH(v, vectors) {
            sum[v] += power[j * vectors + v];
            logit[i + j][v] = power[j * vectors + v];
        }
    }
    EACH(v, vectors) sum[v] = 1.0f / sum[v];
    weights = to;
    for (int64_t first = 0; first < n; first += EIGHT, weights += strides.dilation)
        EACH(i, EIGHT) EACH(v, vectors) *(FLOATS *)WEIGHT_OF(v, i) = logit[first + i][v] * sum[v];
}

/* Weights of so many blocks of a row; those of three channels in registers. */
ENTRY static void NAMED(weigh)(const float *image, int64_t blocks, int64_t c, int64_t plane, const int64_t *shift,
                               int64_t n, float samples, float *weights, Strides strides) {
    int64_t x = 0, end = blocks * BLOCK;
    for (; x + 2 * LANES <= end; x += 2 * LANES) {
        float *to = weights + x / BLOCK * strides.block + x % BLOCK;
        if (c == 3)
            NAMED(weigh_some)(2, 3, image + x, plane, shift, n, samples, to, strides);
        else
            NAMED(weigh_some)(2, c, image + x, plane, shift, n, samples, to, strides);
    }
    if (x < end) NAMED(weigh_some)(1, c, image + x, plane, shift, n, samples, weights + x / BLOCK * strides.block, strides);
}

#undef ALONG
#undef MAGNITUDE
#undef WEIGHT_OF
#undef DIFFERENCE
#undef LANES
#undef NAMED
#undef ENTRY
