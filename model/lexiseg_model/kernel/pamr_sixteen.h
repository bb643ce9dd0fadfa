/* The weighted sums of PAMR's neighbours for sixteen maps by AVX-512.
 *
 * A core multiplies two vectors of sixteen numbers a cycle, but some read no more than one, and all bring numbers to other
 * places of a vector in one place alone. So four pixels of four maps are a vector, times four weights as they are read, and
 * a neighbour is read once for the up to three fours of a block that it is beside. That each is read where it stands here,
 * once, is said in assembly: compilers read neighbours anew for each product, or run out of registers. */
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

enum { FOURS = BLOCK / FOUR, VECTORS = 4, SUMS = FOURS * VECTORS }; /* of a block; of a four; of a block, too */

#define AMONG(four) ((four) >= 0 && (four) < FOURS)
#define READ_WEIGHTS(weight, at, four)                                                                                \
    __asm__ volatile("vbroadcastf32x4 %1, %0" : "=v"(weight) : "m"(*(const Four *)((at) + (four) * FOUR)))
/* Four of a block's weights. */
#define SPREAD(weight, block, four)                                                                                   \
    __asm__ volatile("vshuff32x4 %2, %1, %1, %0" : "=v"(weight) : "v"(block), "i"(((four) & 3) * 0x55))
#define ADD(four, neighbour, weight)                                                                                  \
    __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum[((four) & 3) * VECTORS + v]) : "v"(neighbour), "v"(weight))
/* What lies `by` pixels further on than a vector, of it and the next. */
#define FURTHER(further, vector, next, by)                                                                            \
    __asm__ volatile("vpalignr %3, %1, %2, %0" : "=v"(further) : "v"(vector), "v"(next), "i"(4 * ((by) & 3)))

/* Adds the neighbours in a row, so many fours to the left and the right of a block, and in the middle, if that is said. */
INLINE void add_fours(const int away, const int middle, const float *near, const float *weights, Vector *sum) {
    Vector of_lefts, of_centres = {0}, of_rights;
    READ(of_lefts, weights);
    if (middle) READ(of_centres, weights + BLOCK);
    READ(of_rights, weights + (1 + middle) * BLOCK);
    EACH(i, FOURS + 2 * away) {
        const int four = i - away, of_left = AMONG(four + away), of_right = AMONG(four - away);
        const int own = middle && AMONG(four);
        Vector left = {0}, centre = {0}, right = {0};
        if (of_left) SPREAD(left, of_lefts, four + away);
        if (own) SPREAD(centre, of_centres, four);
        if (of_right) SPREAD(right, of_rights, four - away);
        if (of_left || own || of_right)
            EACH(v, VECTORS) {
                Vector neighbour;
                READ(neighbour, near + (four * VECTORS + v) * WIDTH);
                if (of_left) ADD(four + away, neighbour, left);
                if (own) ADD(four, neighbour, centre);
                if (of_right) ADD(four - away, neighbour, right);
            }
    }
}

/* The same `by` pixels to the left and the right, fewer than four. */
INLINE void add_beside(const int by, const int middle, const float *near, const float *weights, Vector *sum) {
    Vector before[VECTORS], here[VECTORS];
    EACH(v, VECTORS) {
        READ(before[v], near + (v - VECTORS) * WIDTH);
        READ(here[v], near + v * WIDTH);
        /* Which is on the right of one four, and on the left of the next. */
        if (by == 2) FURTHER(before[v], before[v], here[v], 2);
    }
    EACH(four, FOURS) {
        Vector left, centre = {0}, right;
        READ_WEIGHTS(left, weights, four);
        if (middle) READ_WEIGHTS(centre, weights + BLOCK, four);
        READ_WEIGHTS(right, weights + (1 + middle) * BLOCK, four);
        EACH(v, VECTORS) {
            Vector next, beside = before[v];
            READ(next, near + ((four + 1) * VECTORS + v) * WIDTH);
            if (by != 2) FURTHER(beside, before[v], here[v], FOUR - by);
            ADD(four, beside, left);
            if (middle) ADD(four, here[v], centre);
            FURTHER(beside, here[v], next, by);
            ADD(four, beside, right);
            before[v] = by == 2 ? beside : here[v], here[v] = next;
        }
    }
}

/* Adds what no two fours of a block share, or seldom: `by` pixels further on than some fours. */
INLINE void add_once(const int by, const float *near, const float *weights, Vector *sum) {
    Vector of_block;
    READ(of_block, weights);
    EACH(four, FOURS) {
        Vector weight;
        SPREAD(weight, of_block, four);
        EACH(v, VECTORS) {
            Vector neighbour, next;
            READ(neighbour, near + (four * VECTORS + v) * WIDTH);
            if (by) {
                READ(next, near + ((four + 1) * VECTORS + v) * WIDTH);
                FURTHER(neighbour, neighbour, next, by);
            }
            ADD(four, neighbour, weight);
        }
    }
}

/* The neighbours in a row at any dilation. */
INLINE void add_far(int64_t dilation, const int middle, const float *near, const float *weights, Vector *sum) {
    for (int64_t away = -dilation; away <= dilation; away += middle ? dilation : 2 * dilation, weights += BLOCK) {
        const float *from = near + (away & ~(int64_t)3) * VECTORS * (WIDTH / FOUR);
        switch (away & 3) {
        case 0: add_once(0, from, weights, sum); break;
        case 1: add_once(1, from, weights, sum); break;
        case 2: add_once(2, from, weights, sum); break;
        default: add_once(3, from, weights, sum);
        }
    }
}

/* The neighbours in three rows, or, of the last, two: `name` of how far away they are. */
#define ROWS_BY(name, away)                                                                                           \
    name(away, 1, above, weights, sum);                                                                               \
    name(away, 0, from, weights + 3 * BLOCK, sum);                                                                    \
    name(away, 1, below, weights + 5 * BLOCK, sum);                                                                   \
    break

/* A block of a row of maps. */
SIXTEEN_WIDE INLINE void sum_shared(const float *from, const float *weights, Strides strides, const int64_t *shift,
                                    int64_t n, const float *later, const float *maps, int past, float *to) {
    Vector sum[SUMS];
    EACH(v, SUMS) sum[v] = (Vector){0};
    for (int64_t i = 0; i < n; i += EIGHT, weights += strides.dilation, later += strides.dilation) {
        const int64_t dilation = (shift[i + 2] - shift[i + 1]) / 16;
        const float *above = from + shift[i + 1], *below = from + shift[i + 6];
        for (int line = 0; line < EIGHT; line++) __builtin_prefetch(later + line * LINE, 0, 2);
        if (maps && i < FOURS * EIGHT)
            for (int line = 0; line < VECTORS; line++, maps += LINE) __builtin_prefetch(maps, 0, 2);
        switch (dilation) {
        case 1: ROWS_BY(add_beside, 1);
        case 2: ROWS_BY(add_beside, 2);
        case 4: ROWS_BY(add_fours, 1);
        case 8: ROWS_BY(add_fours, 2);
        case 12: ROWS_BY(add_fours, 3);
        default: ROWS_BY(add_far, dilation);
        }
    }
    if (past)
        EACH(v, SUMS) _mm512_stream_ps(to + v * WIDTH, (__m512)sum[v]);
    else
        EACH(v, SUMS) ((Vector *)to)[v] = sum[v];
}

/* Blocks of a row. */
SIXTEEN_WIDE static void mix_16_wide PARAMETERS {
    const float *maps = ahead->maps;
    for (; blocks; blocks--, weights += strides.block, from += BLOCK * 16, to += BLOCK * 16) {
        sum_shared(from, weights, strides, shift, n, LATER(1), maps, ahead->past, to);
        if (maps) maps += BLOCK * 16;
    }
}
