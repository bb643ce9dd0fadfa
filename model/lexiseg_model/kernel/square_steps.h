/* 3 x 3 convolutions of CHANNELS channels to as many by Winograd's F(4 x 4, 3 x 3) (winograd.h): read by `prompts.c` once
 * for each width of vectors and number of channels, whose products with TILES x WIDTH vectors stay in registers. */

/* Products of TILES x CHANNELS numbers with CHANNELS x (WIDTH * LANES), rows of both CHANNELS apart. Meanwhile lines from
 * `ahead` on are called for. */
INLINE void SQUARE(multiply)(const float *left, const float *right, const float *ahead, float *to) {
    FLOATS sum[TILES][WIDTH];
    EACH(t, TILES) EACH(v, WIDTH) sum[t][v] = (FLOATS){0};
    for (int64_t channel = 0; channel < CHANNELS; channel++) {
        const FLOATS *filter = (const FLOATS *)(right + channel * CHANNELS);
        __builtin_prefetch(ahead + channel * LINE);
        EACH(t, TILES) EACH(v, WIDTH) sum[t][v] += left[t * CHANNELS + channel] * filter[v];
    }
    EACH(t, TILES) EACH(v, WIDTH)((FLOATS *)(to + t * CHANNELS))[v] = sum[t][v];
}

/* Relu of a convolution of n maps and its bias; `add`, if it is there, comes before, and may be `to`. Filters
 * [36, CHANNELS, CHANNELS]. */
ENTRY static void SQUARE(convolve)(const Bordered *map, int64_t n, const float *from, const float *filters,
                                   const float *bias, const float *add, float *to, float *room) {
    const int64_t across = (map->w + 3) / 4, tiles = across * ((map->h + 3) / 4), row = map->row * CHANNELS;
    const int64_t apart = GROUP * CHANNELS + ASIDE, plane = map->pixels * CHANNELS;
    float *seen = room, *made = room + 36 * apart;
    for (int64_t first = 0; first < n * tiles; first += GROUP) {
        int64_t some = n * tiles - first < GROUP ? n * tiles - first : GROUP;
        for (int64_t t = 0; t < some; t++) {
            int64_t tile = (first + t) % tiles, corner = tile / across * 4 * row + tile % across * 4 * CHANNELS;
            NAMED(transform)(4, from + (first + t) / tiles * plane + corner, row, CHANNELS, apart, seen + t * CHANNELS);
        }
        for (int64_t p = 0; p < 36; p++)
            for (int64_t channel = 0; channel < CHANNELS; channel += WIDTH * LANES)
                for (int64_t t = 0; t < some; t += TILES) {
                    int64_t at = p * apart + t * CHANNELS;
                    const float *filter = filters + p * CHANNELS * CHANNELS, *next = filter + CHANNELS * CHANNELS;
                    SQUARE(multiply)(seen + at, filter + channel, next + t / TILES * CHANNELS * LINE, made + at + channel);
                }
        for (int64_t t = 0; t < some; t++) {
            int64_t tile = (first + t) % tiles, y = tile / across * 4, x = tile % across * 4;
            int64_t at = (first + t) / tiles * plane + (y + 1) * row + (x + 1) * CHANNELS;
            NAMED(give_tile)(4, made + t * CHANNELS, apart, CHANNELS, bias, add ? add + at : NULL, 0,
                             map->h - y < 4 ? map->h - y : 4, map->w - x < 4 ? map->w - x : 4, to + at, row);
        }
    }
}

/* relu(second(relu(first(maps))) + maps) in place; filters and bias of the two lie behind each other. */
INLINE const float *SQUARE(block)(const Bordered *map, int64_t n, const float *weights, float *maps, float *between,
                                  float *room) {
    const int64_t filters = 36 * CHANNELS * CHANNELS, all = filters + CHANNELS;
    SQUARE(convolve)(map, n, maps, weights, weights + filters, NULL, between, room);
    SQUARE(convolve)(map, n, between, weights + all, weights + all + filters, maps, maps, room);
    return weights + 2 * all;
}

/* `n` rows of `depth` numbers, `from_row` apart, times filters [depth, CHANNELS]: to rows of CHANNELS numbers, of which as
 * many may be written as make whole TILES. */
INLINE void SQUARE(products)(const float *from, int64_t from_row, int64_t depth, int64_t n, const float *filters, float *to) {
    for (int64_t row = 0; row < n; row += TILES)
        for (int64_t channel = 0; channel < CHANNELS; channel += WIDTH * LANES) {
            FLOATS sum[TILES][WIDTH];
            EACH(t, TILES) EACH(v, WIDTH) sum[t][v] = (FLOATS){0};
            for (int64_t i = 0; i < depth; i++) {
                const FLOATS *filter = (const FLOATS *)(filters + i * CHANNELS + channel);
                EACH(t, TILES) EACH(v, WIDTH) sum[t][v] += from[(row + t) * from_row + i] * filter[v];
            }
            EACH(t, TILES) EACH(v, WIDTH)((FLOATS *)(to + (row + t) * CHANNELS + channel))[v] = sum[t][v];
        }
}

/* Of `n` pixels beside each other, each of whose `taps` lies at its place [taps] from it; filters [taps, CHANNELS]. Reads
 * and writes whole TILES. */
INLINE void SQUARE(of_taps)(const float *from, const int64_t *place, int64_t taps, int64_t n, const float *filters,
                            float *to) {
    for (int64_t pixel = 0; pixel < n; pixel += TILES)
        for (int64_t channel = 0; channel < CHANNELS; channel += WIDTH * LANES) {
            FLOATS sum[TILES][WIDTH];
            EACH(t, TILES) EACH(v, WIDTH) sum[t][v] = (FLOATS){0};
            for (int64_t i = 0; i < taps; i++) {
                const float *seen = from + place[i] + pixel;
                const FLOATS *filter = (const FLOATS *)(filters + i * CHANNELS + channel);
                EACH(t, TILES) EACH(v, WIDTH) sum[t][v] += seen[t] * filter[v];
            }
            EACH(t, TILES) EACH(v, WIDTH)((FLOATS *)(to + (pixel + t) * CHANNELS + channel))[v] = sum[t][v];
        }
}
#undef TILES
#undef WIDTH
#undef CHANNELS
#undef SQUARE
