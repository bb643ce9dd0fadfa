/* A prompt's own maps, from what it says about each cell: read by `prompts.c` once for each width of vectors. Maps lie
 * amid borders of zeros (Bordered), pixel by pixel. */

/* What a prompt says of coarse cells: the means of 2 x 2, amid zeros, [channels, h + 2, row] of map; a convolution of it,
 * beside what all prompts share and cut at 0, to `maps`. */
INLINE const float *NAMED(begin)(const Job *job, const float *said, Corner corner, const float *weights, float *maps,
                                 float *room) {
    const Bordered *map = &job->coarse;
    const int64_t w = job->mid.w, plane = w * job->mid.h, taps = 9 * job->channels;
    const float *scale = weights, *shift = scale + COARSE;
    int64_t *place = (int64_t *)room;
    float *made = room + places_of(taps), *padded = made + (map->w + SLACK) * COARSE;
    memset(padded, 0, (size_t)(job->channels * map->pixels + SLACK) * sizeof(float));
    for (int64_t c = 0; c < job->channels; c++) {
        EACH(i, 9) place[9 * c + i] = c * map->pixels + i / 3 * map->row + i % 3;
        for (int64_t y = 0; y < map->h; y++) {
            const float *upper = said + c * plane + 2 * y * w, *lower = upper + w;
            float *to = padded + c * map->pixels + (y + 1) * map->row + 1;
            for (int64_t x = 0; x < map->w; x++)
                to[x] = 0.25f * (upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]);
        }
    }
    for (int64_t y = 0; y < map->h; y++) {
        const float *shared = job->of_coarse + ((corner.y / 2 + y) * (job->width / 2) + corner.x / 2) * COARSE;
        NAMED(of_taps_48)(padded + y * map->row, place, taps, map->w, job->first, made);
        for (int64_t x = 0; x < map->w; x++) {
            float *to = maps + ((y + 1) * map->row + x + 1) * COARSE;
            for (int64_t c = 0; c < COARSE; c += LANES) {
                FLOATS of_shared = *(const FLOATS *)(shared + x * COARSE + c) * *(const FLOATS *)(scale + c);
                FLOATS sum = *(FLOATS *)(made + x * COARSE + c) + of_shared + *(const FLOATS *)(shift + c);
                *(FLOATS *)(to + c) = LARGER(sum, (FLOATS){0});
            }
        }
    }
    return shift + COARSE;
}

/* Adds to every cell what a few attended places hold, and what all hold on average. */
INLINE const float *NAMED(attend)(const Job *job, const float *weights, float *maps, float *room) {
    const Bordered *map = &job->coarse;
    const int64_t n = map->h * map->w;
    const float *where = weights, *first = where + (COARSE + 1) * PADDED, *first_bias = first + ASKED * HIDDEN;
    const float *second = first_bias + HIDDEN, *second_bias = second + HIDDEN * COARSE;
    float *logits = room, total[PADDED];
    for (int64_t y = 0; y < map->h; y++)
        for (int64_t x = 0; x < map->w; x += BESIDE_EACH_OTHER) { /* sums that do not wait for each other */
            const float *cell = maps + ((y + 1) * map->row + x + 1) * COARSE;
            FLOATS sum[BESIDE_EACH_OTHER][PADDED / LANES], more[BESIDE_EACH_OTHER][PADDED / LANES];
            EACH(i, BESIDE_EACH_OTHER) EACH(v, PADDED / LANES) {
                sum[i][v] = ((const FLOATS *)(where + COARSE * PADDED))[v];
                more[i][v] = (FLOATS){0};
            }
            for (int64_t c = 0; c < COARSE; c += 2)
                EACH(v, PADDED / LANES) {
                    FLOATS even = ((const FLOATS *)(where + c * PADDED))[v];
                    FLOATS odd = ((const FLOATS *)(where + (c + 1) * PADDED))[v];
                    EACH(i, BESIDE_EACH_OTHER) {
                        sum[i][v] += cell[i * COARSE + c] * even;
                        more[i][v] += cell[i * COARSE + c + 1] * odd;
                    }
                }
            EACH(i, BESIDE_EACH_OTHER) EACH(v, PADDED / LANES)
            ((FLOATS *)(logits + (y * map->w + x + i) * PADDED))[v] = sum[i][v] + more[i][v];
        }
    EACH(v, PADDED / LANES) {
        FLOATS high = ((FLOATS *)logits)[v], sum = {0};
        for (int64_t i = 1; i < n; i++) high = LARGER(high, ((FLOATS *)(logits + i * PADDED))[v]);
        for (int64_t i = 0; i < n; i++) {
            FLOATS *share = (FLOATS *)(logits + i * PADDED) + v;
            *share -= high;
            NAMED(exponential)(share);
            sum += *share;
        }
        ((FLOATS *)total)[v] = sum;
    }
    float *seen = room + n * PADDED, *hidden = seen + ASKED, *mixed = hidden + HIDDEN;
    for (int64_t c = 0; c < COARSE; c += LANES) {
        FLOATS sum[PLACES + 1];
        EACH(m, PLACES + 1) sum[m] = (FLOATS){0};
        for (int64_t y = 0; y < map->h; y++)
            for (int64_t x = 0; x < map->w; x++) {
                FLOATS cell = *(const FLOATS *)(maps + ((y + 1) * map->row + x + 1) * COARSE + c);
                EACH(m, PLACES) sum[m] += logits[(y * map->w + x) * PADDED + m] * cell;
                sum[PLACES] += cell;
            }
        EACH(m, PLACES + 1)
        *(FLOATS *)(seen + m * COARSE + c) = sum[m] * (1 / (m < PLACES ? total[m] : (float)n));
    }
    NAMED(dense)(seen, ASKED, first, first_bias, HIDDEN, 1, hidden);
    NAMED(dense)(hidden, HIDDEN, second, second_bias, COARSE, 0, mixed);
    for (int64_t y = 0; y < map->h; y++)
        for (int64_t x = 0; x < map->w; x++)
            for (int64_t c = 0; c < COARSE; c += LANES)
                *(FLOATS *)(maps + ((y + 1) * map->row + x + 1) * COARSE + c) += *(FLOATS *)(mixed + c);
    return second_bias + COARSE;
}

/* Coarse maps twice as high and wide in fewer channels, beside what a prompt says and what all share, cut at 0. */
INLINE const float *NAMED(widen)(const Job *job, const float *said, Corner corner, const float *weights,
                                 const float *coarse, float *maps, float *room) {
    const Bordered *map = &job->mid, *from = &job->coarse;
    const int64_t cells = map->h * map->w, last = cells - SLACK;
    const float *scale = weights + COARSE * MID, *shift = scale + MID;
    int64_t *place = (int64_t *)room;
    float *own = room + places_of(job->channels), *narrow = own + cells * MID, *blend = narrow + from->pixels * MID;
    for (int64_t c = 0; c < job->channels; c++) place[c] = c * cells;
    for (int64_t i = 0; i < cells; i += SLACK) { /* those at the end are done twice, for nothing lies behind them */
        int64_t first = i < last ? i : last;
        NAMED(of_taps_32)(said + first, place, job->channels, SLACK, job->second, own + first * MID);
    }
    NAMED(products_32)(coarse + (from->row + 1) * COARSE, COARSE, COARSE, (from->h - 1) * from->row + from->w, weights, narrow);
    for (int64_t y = 0; y < map->h; y++) {
        int64_t aside = y % 2 ? y / 2 + 1 : y / 2 - 1;
        const float *near = narrow + y / 2 * from->row * MID;
        const float *far = aside < 0 || aside >= from->h ? near : narrow + aside * from->row * MID;
        for (int64_t i = 0; i < from->w * MID; i += LANES)
            *(FLOATS *)(blend + i) = 0.75f * *(const FLOATS *)(near + i) + 0.25f * *(const FLOATS *)(far + i);
        const float *of_row = job->of_mid + ((corner.y + y) * job->width + corner.x) * MID;
        for (int64_t x = 0; x < map->w; x++) {
            int64_t at = (y * map->w + x) * MID, beside = x % 2 ? x / 2 + 1 : x / 2 - 1;
            const float *left = blend + x / 2 * MID;
            const float *right = beside < 0 || beside >= from->w ? left : blend + beside * MID;
            for (int64_t c = 0; c < MID; c += LANES) {
                FLOATS up = 0.75f * *(const FLOATS *)(left + c) + 0.25f * *(const FLOATS *)(right + c);
                FLOATS shared = *(const FLOATS *)(of_row + x * MID + c) * *(const FLOATS *)(scale + c);
                FLOATS sum = *(const FLOATS *)(own + at + c) + up + shared + *(const FLOATS *)(shift + c);
                *(FLOATS *)(maps + ((y + 1) * map->row + x + 1) * MID + c) = LARGER(sum, (FLOATS){0});
            }
        }
    }
    return shift + MID;
}
