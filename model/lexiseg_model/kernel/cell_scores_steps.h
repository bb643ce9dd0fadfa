/* The steps of cell_scores.c for one width of vectors: at most MANY texts at a time. */
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

/* In as many parts as there must be of at most MANY texts, of like sizes: few texts at a time wait for each sum. */
ENTRY static void NAMED(products)(const float *block, int64_t depth, const float *across, int64_t texts,
                                  const float *added, const int64_t *owner, float *to, int64_t apart) {
    int64_t parts = (texts + MANY - 1) / MANY;
    for (int64_t part = 0, t = 0, some; part < parts; part++, t += some) {
        some = (texts - t) / (parts - part);
#define OF(n) \
    case n: NAMED(multiply)(n, block, depth, across + t, texts, added + t, owner + t, to, apart); break;
        switch (some) {
            OF(1) OF(2) OF(3) OF(4) OF(5) OF(6)
#if MANY > 6
            OF(7) OF(8) OF(9) OF(10) OF(11) OF(12) OF(13)
#endif
        }
#undef OF
    }
}
#undef LANES
#undef MANY
#undef NAMED
#undef ENTRY
#undef WIDEN
