/* The steps of cell_scores.c for one width of vectors: MANY, SOME or one text at a time. */
#include "vectors.h"

/* The products of `texts` texts, a constant, with the 2 * LANES cells of a block [depth, 2 * LANES]; of each row the
 * largest is kept. across [depth, all]: the texts side by side. */
INLINE void NAMED(multiply)(int texts, const float *block, int64_t depth, const float *across, int64_t all,
                            const float *added, const int64_t *owner, float *to, int64_t apart) {
    FLOATS sums[MANY][2];
    EACH(t, texts) sums[t][0] = sums[t][1] = (FLOATS){0};
    for (int64_t d = 0; d < depth; d++, block += 2 * LANES, across += all) {
        FLOATS left = *(const FLOATS *)block, right = *(const FLOATS *)(block + LANES);
        EACH(t, texts) {
            sums[t][0] += left * across[t];
            sums[t][1] += right * across[t];
        }
    }
    EACH(t, texts) {
        FLOATS *first = (FLOATS *)(to + owner[t] * apart), *second = first + 1;
        FLOATS left = sums[t][0] + added[t], right = sums[t][1] + added[t];
        int is_first = owner[t] != owner[t - 1];
        *first = is_first ? left : LARGER(left, *first);
        *second = is_first ? right : LARGER(right, *second);
    }
}

/* 2 * LANES cells side by side, halves [depth] `apart` from each other, as floats. */
ENTRY static void NAMED(widen)(const uint16_t *halves, int64_t apart, int64_t depth, float *block) {
    for (int64_t d = 0; d < depth; d++)
        for (int part = 0; part < 2; part++)
            *(FLOATS *)(block + (d * 2 + part) * LANES) = (FLOATS)WIDEN(halves + d * apart + part * LANES);
}

ENTRY static void NAMED(products)(const float *block, int64_t depth, const float *across, int64_t texts,
                                  const float *added, const int64_t *owner, float *to, int64_t apart) {
    int64_t t = 0;
#define OF(some) NAMED(multiply)(some, block, depth, across + t, texts, added + t, owner + t, to, apart)
    for (; t + MANY <= texts; t += MANY) OF(MANY);
    for (; t + SOME <= texts; t += SOME) OF(SOME);
    for (; t < texts; t++) OF(1);
#undef OF
}
#undef LANES
#undef MANY
#undef SOME
#undef NAMED
#undef ENTRY
#undef WIDEN
