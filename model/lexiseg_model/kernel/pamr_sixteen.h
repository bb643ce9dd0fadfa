/* The weighted sums of PAMR's neighbours for sixteen maps by AVX-512, where a pixel is one vector.
 *
 * A core multiplies two such vectors a cycle, but some read no more than one, be it whole or one number spread over it. So
 * a neighbour is read once for the up to three pixels of a block that it is beside, and weights by four, to be spread in
 * registers. That each is read where it stands here, once, is said in assembly: compilers read neighbours anew for each
 * product, or run out of registers. */
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
typedef Floats_of_sixteen Pixel;

#define IN_BLOCK(pixel) ((pixel) >= 0 && (pixel) < BLOCK)
#define READ(vector, at) __asm__ volatile("vmovups %1, %0" : "=v"(vector) : "m"(*(const Pixel *)(at)))
/* Every fourth pixel's, and the three's behind it. */
#define READ_WEIGHTS(four, pixel, at)                                                                                 \
    if (IN_BLOCK(pixel) && (pixel) % 4 == 0)                                                                          \
        __asm__ volatile("vbroadcastf32x4 %1, %0" : "=v"(four) : "m"(*(const Four *)((at) + ((pixel) & 15))));
#define ADD(four, pixel)                                                                                              \
    if (IN_BLOCK(pixel)) {                                                                                            \
        Pixel weight;                                                                                                \
        __asm__ volatile("vpermilps %2, %1, %0" : "=v"(weight) : "v"(four), "i"(((pixel) & 3) * 0x55));               \
        __asm__ volatile("vfmadd231ps %2, %1, %0" : "+v"(sum[(pixel) & 15]) : "v"(neighbour), "v"(weight));           \
    }
#define ANY(pixel, DILATION) (IN_BLOCK((pixel) + DILATION) || IN_BLOCK((pixel) - DILATION))

/* A block's sums of the neighbours in a row above or below, and of those in its own: by what is at `near`. */
#define ROW(DILATION)                                                                                                 \
    EACH(i, BLOCK + 2 * DILATION) {                                                                                  \
        const int pixel = i - DILATION;                                                                               \
        READ_WEIGHTS(left, pixel + DILATION, weights)                                                                 \
        READ_WEIGHTS(middle, pixel, weights + BLOCK)                                                                  \
        READ_WEIGHTS(right, pixel - DILATION, weights + 2 * BLOCK)                                                    \
        if (ANY(pixel, DILATION) || IN_BLOCK(pixel)) {                                                                \
            Pixel neighbour;                                                                                         \
            READ(neighbour, near + pixel * BLOCK);                                                                    \
            ADD(left, pixel + DILATION)                                                                               \
            ADD(middle, pixel)                                                                                        \
            ADD(right, pixel - DILATION)                                                                              \
        }                                                                                                             \
    }
#define OWN_ROW(DILATION)                                                                                             \
    EACH(i, BLOCK + 2 * DILATION) {                                                                                  \
        const int pixel = i - DILATION;                                                                               \
        READ_WEIGHTS(left, pixel + DILATION, weights)                                                                 \
        READ_WEIGHTS(right, pixel - DILATION, weights + BLOCK)                                                        \
        if (ANY(pixel, DILATION)) {                                                                                   \
            Pixel neighbour;                                                                                         \
            READ(neighbour, near + pixel * BLOCK);                                                                    \
            ADD(left, pixel + DILATION)                                                                               \
            ADD(right, pixel - DILATION)                                                                              \
        }                                                                                                             \
    }
/* Of neighbours that no two pixels of a block share, or seldom. */
#define ONCE(away, weights)                                                                                           \
    EACH(pixel, BLOCK) {                                                                                             \
        Pixel neighbour;                                                                                             \
        READ_WEIGHTS(left, pixel, weights)                                                                            \
        READ(neighbour, near + (pixel + (away)) * BLOCK);                                                             \
        ADD(left, pixel)                                                                                              \
    }
#define WIDE_ROW ONCE(-dilation, weights) ONCE(0, weights + BLOCK) ONCE(dilation, weights + 2 * BLOCK)
#define WIDE_OWN_ROW ONCE(-dilation, weights) ONCE(dilation, weights + BLOCK)
#define ASK(lines, count)                                                                                             \
    EACH(line, count) __builtin_prefetch((lines) + line * BLOCK, 0, 2);                                              \
    (lines) += (count) * BLOCK;
#define BY_DILATION(NARROW, WIDE)                                                                                     \
    switch (dilation) {                                                                                               \
    case 1: NARROW(1) break;                                                                                          \
    case 2: NARROW(2) break;                                                                                          \
    case 4: NARROW(4) break;                                                                                          \
    case 8: NARROW(8) break;                                                                                          \
    case 12: NARROW(12) break;                                                                                        \
    default: WIDE                                                                                                     \
    }

/* As the others of `pamr_rows.h`, which this is in place of; the order of a pixel's sums is the same. */
SIXTEEN_WIDE static void mix_16_shared(const float *from, int64_t blocks, const float *weights, const int64_t *shift,
                                       int64_t n, const Ahead *ahead, float *to) {
    const float *maps = ahead->maps;
    for (; blocks; blocks--, from += BLOCK * BLOCK, to += BLOCK * BLOCK) {
        Pixel sum[BLOCK], left = {0}, middle = {0}, right = {0};
        const int64_t behind = AHEAD - blocks - ahead->left; /* in the next row */
        const float *later = behind < 0 ? weights + AHEAD * n * BLOCK : ahead->weights + behind * n * BLOCK;
        const float *asked = maps;
        EACH(pixel, BLOCK) sum[pixel] = (Pixel){0};
        for (int64_t i = 0; i < n; i += EIGHT) {
            const int64_t dilation = (shift[i + 2] - shift[i + 1]) / BLOCK;
            for (int below = 0; below < 2; below++) {
                const float *near = from + shift[below ? i + 6 : i + 1];
                ASK(later, 3)
                if (asked && i < BLOCK / 4 * EIGHT) {
                    ASK(asked, 2)
                }
                BY_DILATION(ROW, WIDE_ROW)
                weights += 3 * BLOCK;
                if (below) break;
                near = from;
                ASK(later, 2)
                BY_DILATION(OWN_ROW, WIDE_OWN_ROW)
                weights += 2 * BLOCK;
            }
        }
        if (maps) maps += BLOCK * BLOCK;
        if (ahead->past)
            EACH(pixel, BLOCK) _mm512_stream_ps(to + pixel * BLOCK, (__m512)sum[pixel]);
        else
            EACH(pixel, BLOCK) ((Pixel *)to)[pixel] = sum[pixel];
    }
}
