/* 3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3) and F(2 x 2, 3 x 3) (Lavin and Gray, 2015), of any number of channels
 * that is a multiple of LANES: read by `layers.h` and `prompts.c`, once for each width of vectors.
 * `side` is 4 or 2, known when this is compiled: side x side pixels take (side + 2)^2 products for each pair of channels
 * instead of 9 side^2. */

/* B'd: side + 2 numbers, `apart` from each other, to as many. */
INLINE void NAMED(spread)(const int side, const FLOATS *d, int apart, FLOATS *to) {
    FLOATS d1 = d[apart], d2 = d[2 * apart], d3 = d[3 * apart];
    if (side == 2) {
        to[0] = d[0] - d2;
        to[1] = d1 + d2;
        to[2] = d2 - d1;
        to[3] = d1 - d3;
    } else {
        FLOATS d4 = d[4 * apart], even = d4 - 4 * d2, odd = d3 - 4 * d1, near = d4 - d2, far = 2 * (d3 - d1);
        to[0] = 4 * d[0] - 5 * d2 + d4;
        to[1] = even + odd;
        to[2] = even - odd;
        to[3] = near + far;
        to[4] = near - far;
        to[5] = 4 * d1 - 5 * d3 + d[5 * apart];
    }
}

/* A'm: side + 2 numbers, `apart` from each other, to `side`. */
INLINE void NAMED(gather)(const int side, const FLOATS *m, int apart, FLOATS *to) {
    FLOATS ones = m[apart] + m[2 * apart], one = m[apart] - m[2 * apart];
    if (side == 2) {
        to[0] = m[0] + ones;
        to[1] = one - m[3 * apart];
    } else {
        FLOATS twos = m[3 * apart] + m[4 * apart], two = m[3 * apart] - m[4 * apart];
        to[0] = m[0] + ones + twos;
        to[1] = one + 2 * two;
        to[2] = ones + 4 * twos;
        to[3] = one + 8 * two + m[5 * apart];
    }
}

/* The (side + 2)^2 pixels of a tile, rows `row` numbers apart, to as many places, `apart` numbers from each other. */
INLINE void NAMED(transform)(const int side, const float *from, int64_t row, int64_t channels, int64_t apart, float *to) {
    const int edge = side + 2, half = edge / 2;
    for (int64_t channel = 0; channel < channels; channel += LANES)
        EACH(part, 2) { /* of the columns, so that what is between stays in registers */
            FLOATS across[18];
            EACH(y, edge) {
                FLOATS seen[6], all[6];
                EACH(x, edge) seen[x] = *(const FLOATS *)(from + y * row + x * channels + channel);
                NAMED(spread)(side, seen, 1, all);
                EACH(x, half) across[half * y + x] = all[half * part + x];
            }
            EACH(x, half) {
                FLOATS down[6];
                NAMED(spread)(side, across + x, half, down);
                EACH(y, edge) *(FLOATS *)(to + (edge * y + half * part + x) * apart + channel) = down[y];
            }
        }
}

/* The same for a tile at (y, x), which may reach over the edges of a map [h, w, channels]; `patch` is room for it. */
INLINE void NAMED(take_tile)(const int side, const float *from, int64_t y, int64_t x, int64_t h, int64_t w,
                             int64_t channels, float *patch, float *to) {
    const int64_t edge = side + 2, pixel = channels * (int64_t)sizeof(float);
    if (y >= 0 && x >= 0 && y + edge <= h && x + edge <= w) {
        NAMED(transform)(side, from + (y * w + x) * channels, w * channels, channels, channels, to);
        return;
    }
    int64_t left = x < 0 ? -x : 0, right = x + edge > w ? w - x : edge;
    memset(patch, 0, (size_t)(edge * edge * pixel));
    for (int64_t i = 0; i < edge; i++)
        if (y + i >= 0 && y + i < h)
            memcpy(patch + (i * edge + left) * channels, from + ((y + i) * w + x + left) * channels,
                   (size_t)((right - left) * pixel));
    NAMED(transform)(side, patch, edge * channels, channels, channels, to);
}

/* Back from the places of a tile, `apart` numbers from each other, to at most `rows` x `columns` pixels of maps whose rows
 * are `row` numbers long; `add`, if it is there, lies as `to` does, and may be it. */
INLINE void NAMED(give_tile)(const int side, const float *from, int64_t apart, int64_t channels, const float *bias,
                             const float *add, float least, int64_t rows, int64_t columns, float *to, int64_t row) {
    const int edge = side + 2;
    for (int64_t channel = 0; channel < channels; channel += LANES) {
        FLOATS across[24];
        EACH(y, edge) {
            FLOATS seen[6];
            EACH(x, edge) seen[x] = *(const FLOATS *)(from + (edge * y + x) * apart + channel);
            NAMED(gather)(side, seen, 1, across + side * y);
        }
        EACH(x, side) {
            FLOATS down[4];
            NAMED(gather)(side, across + x, side, down);
            if (x < columns) EACH(y, side) if (y < rows) {
                int64_t at = y * row + x * channels + channel;
                FLOATS pixel = down[y] + *(const FLOATS *)(bias + channel);
                if (add) pixel += *(const FLOATS *)(add + at);
                *(FLOATS *)(to + at) = LARGER(pixel, (FLOATS){0} + least);
            }
        }
    }
}
