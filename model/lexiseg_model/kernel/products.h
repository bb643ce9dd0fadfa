/* Products of a few rows with a panel of filters, whose sums stay in registers: read by `layers.h`, once for each width
 * of vectors. A panel [depth, PANEL] holds PANEL = WIDTH * LANES channels of what comes out. */

/* `ahead` is what will be read next: it is called for while there is something to do. */
INLINE void NAMED(sums)(const int rows, const float *left, int64_t left_row, int64_t depth, const float *panel,
                        const float *ahead, float *to, int64_t to_row) {
    FLOATS sum[ROWS][WIDTH];
    EACH(t, rows) EACH(v, WIDTH) sum[t][v] = (FLOATS){0};
    for (int64_t i = 0; i < depth; i++, panel += PANEL, ahead += LANES) {
        __builtin_prefetch(ahead, 0, 2);
        EACH(t, rows) EACH(v, WIDTH) sum[t][v] += left[t * left_row + i] * ((const FLOATS *)panel)[v];
    }
    EACH(t, rows) EACH(v, WIDTH)((FLOATS *)(to + t * to_row))[v] = sum[t][v];
}

/* Of at most ROWS rows, whose number has code of its own each. */
ENTRY static void NAMED(block)(int64_t rows, const float *left, int64_t left_row, int64_t depth, const float *panel,
                               const float *ahead, float *to, int64_t to_row) {
#define CASE(n) case n: NAMED(sums)(n, left, left_row, depth, panel, ahead, to, to_row); break;
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4)
#if ROWS > 4
        CASE(5) CASE(6) CASE(7) CASE(8)
#endif
    }
#undef CASE
}

/* Of `rows` rows of `depth` numbers, `left_row` apart, with one panel: to PANEL numbers of rows `to_row` apart. */
INLINE void NAMED(multiply)(int64_t rows, const float *left, int64_t left_row, int64_t depth, const float *panel,
                            float *to, int64_t to_row) {
    int64_t blocks = (rows + ROWS - 1) / ROWS, high = blocks ? (rows + blocks - 1) / blocks : 0;
    for (int64_t block = 0; block < blocks; block++) {
        int64_t row = block * high, part = block < WIDTH ? block : WIDTH - 1; /* of the panel that comes next */
        NAMED(block)(rows - row < high ? rows - row : high, left + row * left_row, left_row, depth, panel,
                     panel + (WIDTH + part) * LANES * depth, to + row * to_row, to_row);
    }
}
