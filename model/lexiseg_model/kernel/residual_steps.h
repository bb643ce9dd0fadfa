/* A 3 x 3 convolution by Winograd's F(4 x 4, 3 x 3) (Lavin and Gray, 2015): read by `residual.c` once for each width of
 * vectors and number of CHANNELS. Four by four pixels take 36 products for each pair of channels instead of 144.
 * TILES x WIDTH vectors of sums stay in registers. */
#include "vectors.h"
#include "winograd.h"

/* The 6 x 6 pixels of a tile, rows `row` numbers apart, to their 36 places, `apart` numbers from each other. */
INLINE void NAMED(take)(const float *from, int64_t row, float *to, int64_t apart) {
    for (int64_t channel = 0; channel < CHANNELS; channel += LANES) {
        FLOATS seen[36], across[36];
        EACH(y, 6) EACH(x, 6) seen[6 * y + x] = *(const FLOATS *)(from + y * row + x * CHANNELS + channel);
        EACH(y, 6) NAMED(spread)(4, seen + 6 * y, 1, across + 6 * y);
        EACH(x, 6) {
            FLOATS down[6];
            NAMED(spread)(4, across + x, 6, down);
            EACH(y, 6) *(FLOATS *)(to + (6 * y + x) * apart + channel) = down[y];
        }
    }
}

/* Back from 36 places to at most `rows` x `columns` pixels of a tile; `add`, if it is there, lies as `to` does. */
INLINE void NAMED(give)(const float *from, int64_t apart, const float *bias, const float *add,
                        int64_t add_row, int64_t rows, int64_t columns, float *to, int64_t row) {
    for (int64_t channel = 0; channel < CHANNELS; channel += LANES) {
        FLOATS seen[36], across[24], pixels[16];
        EACH(p, 36) seen[p] = *(const FLOATS *)(from + p * apart + channel);
        EACH(y, 6) NAMED(gather)(4, seen + 6 * y, 1, across + 4 * y);
        EACH(x, 4) {
            FLOATS down[4];
            NAMED(gather)(4, across + x, 4, down);
            EACH(y, 4) pixels[4 * y + x] = down[y] + *(const FLOATS *)(bias + channel);
        }
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) {
                FLOATS pixel = pixels[4 * y + x];
                if (add) pixel += *(const FLOATS *)(add + y * add_row + x * CHANNELS + channel);
                *(FLOATS *)(to + y * row + x * CHANNELS + channel) = LARGER(pixel, (FLOATS){0});
            }
    }
}

/* Products of TILES x CHANNELS numbers with CHANNELS x (WIDTH * LANES), rows of both CHANNELS apart. */
INLINE void NAMED(multiply)(const float *left, const float *right, float *to) {
    FLOATS sum[TILES][WIDTH];
    EACH(t, TILES) EACH(v, WIDTH) sum[t][v] = (FLOATS){0};
    for (int64_t channel = 0; channel < CHANNELS; channel++) {
        const FLOATS *filter = (const FLOATS *)(right + channel * CHANNELS);
        EACH(t, TILES) EACH(v, WIDTH) sum[t][v] += left[t * CHANNELS + channel] * filter[v];
    }
    EACH(t, TILES) EACH(v, WIDTH)((FLOATS *)(to + t * CHANNELS))[v] = sum[t][v];
}

/* Relu of a convolution, its bias and, if it is there, `add` [h, w, CHANNELS]. Rows of `from`, which begins with a
 * border of zeros, and of `to` are `..._row` numbers apart. Filters [36, CHANNELS, CHANNELS]. */
ENTRY static void NAMED(convolve)(const float *from, int64_t from_row, int64_t h, int64_t w, const float *filters,
                                  const float *bias, const float *add, float *to, int64_t to_row, float *room) {
    const int64_t across = (w + 3) / 4, n = across * ((h + 3) / 4), apart = GROUP * CHANNELS, row = w * CHANNELS;
    float *seen = room, *made = room + 36 * apart;
    for (int64_t first = 0; first < n; first += GROUP) {
        int64_t tiles = n - first < GROUP ? n - first : GROUP;
        for (int64_t t = 0; t < tiles; t++) {
            int64_t y = (first + t) / across * 4, x = (first + t) % across * 4;
            NAMED(take)(from + y * from_row + x * CHANNELS, from_row, seen + t * CHANNELS, apart);
        }
        for (int64_t p = 0; p < 36; p++)
            for (int64_t channel = 0; channel < CHANNELS; channel += WIDTH * LANES)
                for (int64_t t = 0; t < tiles; t += TILES) {
                    int64_t at = p * apart + t * CHANNELS;
                    NAMED(multiply)(seen + at, filters + p * CHANNELS * CHANNELS + channel, made + at + channel);
                }
        for (int64_t t = 0; t < tiles; t++) {
            int64_t y = (first + t) / across * 4, x = (first + t) % across * 4;
            NAMED(give)(made + t * CHANNELS, apart, bias, add ? add + y * row + x * CHANNELS : NULL, row,
                        h - y < 4 ? h - y : 4, w - x < 4 ? w - x : 4, to + y * to_row + x * CHANNELS, to_row);
        }
    }
}
#undef TILES
#undef WIDTH
#undef CHANNELS
#undef LANES
#undef NAMED
#undef ENTRY
