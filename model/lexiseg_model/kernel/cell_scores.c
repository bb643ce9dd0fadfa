/* Scores of an image's cells: their products with texts, of several texts of a row the best. Cells are halves, as they
 * are kept, and made floats a few at a time, which stay in the cache for all texts: `lexiseg_model.kernel.cell_scores`.
 *
 * Products are summed along the depth one by one and fused, whatever the width: all processors answer alike. */
#include "kernel.h"

typedef void Widen(const uint16_t *, int64_t, int64_t, float *);
typedef void Products(const float *, int64_t, const float *, int64_t, const float *, const int64_t *, float *, int64_t);
typedef struct {
    int64_t cells; /* of a block */
    Widen *widen;
    Products *products;
} Way;

#if MANY_PROCESSORS
#include <immintrin.h>
#pragma GCC optimize("fp-contract=fast")

#define LANES 8
#define MANY 6
#define NAMED(name) name##_of_eight
#define ENTRY __attribute__((target("avx2,fma,f16c")))
#define WIDEN(halves) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves)))
#include "cell_scores_steps.h"

#define LANES 16
#define MANY 13
#define NAMED(name) name##_of_sixteen
#define ENTRY SIXTEEN_WIDE
#define WIDEN(halves) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(halves)))
#include "cell_scores_steps.h"

static Way way(void) {
    switch (__builtin_cpu_supports("f16c") ? lanes() : 0) {
    case 16: return (Way){2 * 16, widen_of_sixteen, products_of_sixteen};
    case 8: return (Way){2 * 8, widen_of_eight, products_of_eight};
    default: return (Way){0};
    }
}

/* n cells one after the other, halves [n, depth], as floats [depth, n]: 8 x 8 at a time, by pairs, fours and eights. */
__attribute__((target("avx2,f16c"))) static void turn(const uint16_t *halves, int64_t n, int64_t depth, float *block) {
    for (int64_t cell = 0; cell < n; cell += 8)
        for (int64_t d = 0; d < depth; d += 8) {
            __m256 row[8], pair[8], four[8];
            for (int i = 0; i < 8; i++)
                row[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(halves + (cell + i) * depth + d)));
            for (int i = 0; i < 8; i += 2) {
                pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
                pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
            }
            for (int i = 0; i < 8; i += 4)
                for (int j = 0; j < 2; j++) {
                    four[i + 2 * j] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0x44);
                    four[i + 2 * j + 1] = _mm256_shuffle_ps(pair[i + j], pair[i + j + 2], 0xee);
                }
            float *to = block + d * n + cell;
            for (int i = 0; i < 4; i++) {
                _mm256_storeu_ps(to + i * n, _mm256_permute2f128_ps(four[i], four[i + 4], 0x20));
                _mm256_storeu_ps(to + (i + 4) * n, _mm256_permute2f128_ps(four[i], four[i + 4], 0x31));
            }
        }
}
#else
static Way way(void) { return (Way){0}; }
static void turn(const uint16_t *halves, int64_t n, int64_t depth, float *block) {
    (void)halves, (void)n, (void)depth, (void)block;
}
#endif

/* Whether products of such a depth are made here, and for this processor. */
API int64_t lexiseg_cell_scores_fit(int64_t depth) { return depth % 8 == 0 && way().cells != 0; }

/* Scores [rows, n] of n cells: the largest of vectors[t] . cell + added[t] over the texts t of a row.
 *
 * cells in half precision, [n, depth] where they lie one after the other (`in_turn`), else [depth, n]; vectors
 * [texts, depth]; added [texts]; owner [texts], the row of each: ascending from 0, none left out. */
API int64_t lexiseg_cell_scores(const uint16_t *cells, int64_t in_turn, int64_t n, int64_t depth, const float *vectors,
                             const float *added, const int64_t *owner, int64_t texts, float *scores) {
    Way by = way();
    int64_t width = by.cells, rows = owner[texts - 1] + 1;
    size_t floats = (size_t)(depth * (width + texts) + rows * width);
    int64_t *owners = malloc((size_t)(texts + 1) * sizeof(int64_t) + floats * sizeof(float) +
                             (size_t)(depth * width) * sizeof(uint16_t));
    if (!owners) return OUT_OF_MEMORY;
    float *block = (float *)(owners + texts + 1), *across = block + depth * width, *last = across + depth * texts;
    uint16_t *halves = (uint16_t *)(last + rows * width);
    *owners++ = -1; /* before the first */
    memcpy(owners, owner, (size_t)texts * sizeof(int64_t));
    for (int64_t t = 0; t < texts; t++)
        for (int64_t d = 0; d < depth; d++) across[d * texts + t] = vectors[t * depth + d];

    for (int64_t at = 0; at < n; at += width) {
        int64_t left = n - at;
        const uint16_t *some = cells + at * (in_turn ? depth : 1);
        if (left < width) { /* what is beyond the last cell is worked on, too */
            memset(halves, 0, (size_t)(depth * width) * sizeof(uint16_t));
            int64_t lines = in_turn ? left : depth, length = in_turn ? depth : left;
            for (int64_t line = 0; line < lines; line++)
                memcpy(halves + line * (in_turn ? depth : width), some + line * (in_turn ? depth : n),
                       (size_t)length * sizeof(uint16_t));
            some = halves;
        }
        if (in_turn) turn(some, width, depth, block);
        else by.widen(some, left < width ? width : n, depth, block);
        if (left >= width) by.products(block, depth, across, texts, added, owners, scores + at, n);
        else {
            by.products(block, depth, across, texts, added, owners, last, width);
            for (int64_t row = 0; row < rows; row++)
                memcpy(scores + row * n + at, last + row * width, (size_t)left * sizeof(float));
        }
    }
    free(owners - 1);
    return 0;
}
