/* The weighted sums of PAMR's neighbours for one to eight maps by AVX-512.
 *
 * Maps lie by blocks of sixteen pixels, a vector each, times sixteen weights as they lie. A core multiplies two vectors a
 * cycle and reads two, but one alone that lies across two cache lines: so what is beside a block is put together of two
 * that are read where they lie, and what is read serves all of its neighbours in the row. Weights stay in registers for
 * all maps. */
typedef Floats_of_sixteen Vector;

enum { WIDTH = 16, MOST_BLOCKS = 8, MOST_SUMS = 16 };

/* So many maps at so many blocks next to each other, whose weights of a dilation follow each other, too, or one block. */
#define BLOCKS_OF const int maps, const int blocks
/* Read once: compilers read operands of products anew for each. */
#define READ(vector, at) __asm__ volatile("vmovups %1, %0" : "=v"(vector) : "m"(*(const Vector *)(at)))
#define BESIDE(vector, next, by) ((Vector)_mm512_alignr_epi32((__m512i)(next), (__m512i)(vector), (by) & 15))
#define ANYWHERE_BESIDE(vector, next) ((Vector)_mm512_permutex2var_ps((__m512)(vector), places, (__m512)(next)))

/* Adds the neighbours in a row, `by` pixels to the left and the right, up to 16 or from 17 to 31, and in the middle, if
 * that is said. Of one map weights are read as they are needed. */
#define WEIGHTS_OF(side, b) (weights + (side) * BLOCK + (b) * OF_BLOCK)
#define ADD(neighbour, side)                                                                                          \
    do {                                                                                                              \
        if (maps > 1)                                                                                                 \
            __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum[map * blocks + b]) : "v"(neighbour), "v"(weight[side][b]));   \
        else                                                                                                          \
            __asm__("vfmadd231ps %2, %1, %0"                                                                          \
                    : "+v"(sum[map * blocks + b])                                                                     \
                    : "v"(neighbour), "m"(*(const Vector *)WEIGHTS_OF(side, b)));                                     \
    } while (0)
SIXTEEN_WIDE INLINE void add_row(BLOCKS_OF, const int by, const int middle, const float *near, const float *weights,
                                 Vector *sum) {
    const int margin = (by + 15) / 16, beside = by % 16 != 0;
    Vector weight[3][MOST_BLOCKS], at[MOST_BLOCKS + 4];
    if (maps > 1) EACH(side, 2 + middle) EACH(b, blocks) READ(weight[side][b], WEIGHTS_OF(side, b));
    EACH(map, maps) {
        EACH(i, blocks + 2 * margin) READ(at[i], near + ((i - margin) * maps + map) * WIDTH);
        EACH(b, blocks) {
            const Vector left = BESIDE(at[b], at[b + beside], 16 * margin - by);
            const Vector right = BESIDE(at[b + 2 * margin - beside], at[b + 2 * margin], by % 16);
            ADD(left, 0);
            if (middle) ADD(at[b + margin], 1);
            ADD(right, 1 + middle);
        }
    }
}

/* The same at any distance. */
SIXTEEN_WIDE INLINE void add_at_distance(BLOCKS_OF, int64_t dilation, const int middle, const float *near,
                                         const float *weights, Vector *sum) {
    for (int64_t away = -dilation; away <= dilation; away += middle ? dilation : 2 * dilation, weights += BLOCK) {
        const float *from = near + (away & ~(int64_t)15) * maps;
        const __m512i places = _mm512_add_epi32(_mm512_set1_epi32((int)(away & 15)),
                                                _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        const int next = away & 15 ? 1 : 0;
        EACH(b, blocks) {
            Vector weight;
            READ(weight, weights + b * OF_BLOCK);
            EACH(map, maps) {
                Vector here, further;
                READ(here, from + (b * maps + map) * WIDTH);
                READ(further, from + ((b + next) * maps + map) * WIDTH);
                sum[map * blocks + b] += ANYWHERE_BESIDE(here, further) * weight;
            }
        }
    }
}

/* The neighbours in three rows, or, of the last, two: `name` of how far away they are. */
#define ROWS_OF(name, away)                                                                                           \
    name(maps, blocks, away, 1, above, weights, sum);                                                                 \
    name(maps, blocks, away, 0, from, weights + 3 * BLOCK, sum);                                                      \
    name(maps, blocks, away, 1, below, weights + 5 * BLOCK, sum);                                                     \
    break

/* So many blocks of a row of so many maps. */
SIXTEEN_WIDE INLINE void sum_blocks(const int maps, const int blocks, const float *from, const float *weights,
                                    Strides strides, const int64_t *shift, int64_t n, const float *later,
                                    const float *soon, int past, float *to) {
    Vector sum[MOST_SUMS];
    EACH(v, maps * blocks) sum[v] = (Vector){0};
    for (int64_t i = 0; i < n; i += EIGHT, weights += strides.dilation, later += strides.dilation) {
        const int64_t dilation = (shift[i + 2] - shift[i + 1]) / maps;
        const float *above = from + shift[i + 1], *below = from + shift[i + 6];
        for (int line = 0; line < EIGHT; line++)
            for (int block = 0; block < blocks; block++)
                __builtin_prefetch(later + block * OF_BLOCK + line * LINE, 0, 2);
        if (soon && !i)
            for (int line = 0; line < maps * blocks; line++) __builtin_prefetch(soon + line * LINE, 0, 2);
        switch (dilation) {
        case 1: ROWS_OF(add_row, 1);
        case 2: ROWS_OF(add_row, 2);
        case 4: ROWS_OF(add_row, 4);
        case 8: ROWS_OF(add_row, 8);
        case 12: ROWS_OF(add_row, 12);
        case 16: ROWS_OF(add_row, 16);
        case 24: ROWS_OF(add_row, 24);
        default: ROWS_OF(add_at_distance, dilation);
        }
    }
    EACH(map, maps)
    EACH(b, blocks) {
        if (past)
            _mm512_stream_ps(to + (b * maps + map) * WIDTH, (__m512)sum[map * blocks + b]);
        else
            *(Vector *)(to + (b * maps + map) * WIDTH) = sum[map * blocks + b];
    }
}

/* The next weights to ask for, where `some` blocks are read of those that are left: in this row or in the next. */
#define LATER(some)                                                                                                   \
    (blocks + ahead->left > AHEAD ? weights + AHEAD * strides.block                                                   \
                                  : ahead->weights + (AHEAD - blocks - ahead->left) * strides.block)
/* Blocks of a row, so many at once. */
#define MIX(MAPS, BLOCKS)                                                                                             \
    SIXTEEN_WIDE static void mix_##MAPS##_wide PARAMETERS {                                                           \
        const float *soon = ahead->maps;                                                                              \
        SUM_BLOCKS(MAPS, BLOCKS)                                                                                      \
        SUM_BLOCKS(MAPS, 1)                                                                                           \
    }
#define SUM_BLOCKS(MAPS, BLOCKS)                                                                                      \
    for (; blocks >= BLOCKS && (BLOCKS == 1 || strides.block == OF_BLOCK); blocks -= BLOCKS) {                        \
        sum_blocks(MAPS, BLOCKS, from, weights, strides, shift, n, LATER(BLOCKS), soon, ahead->past, to);             \
        weights += BLOCKS * strides.block, from += BLOCKS * BLOCK * MAPS, to += BLOCKS * BLOCK * MAPS;                \
        if (soon) soon += BLOCKS * BLOCK * MAPS;                                                                      \
    }
MIX(8, 2)
MIX(7, 2)
MIX(6, 2)
MIX(5, 2)
MIX(4, 2)
MIX(3, 2)
MIX(2, 4)
MIX(1, 8)
#undef MIX
#undef ADD
