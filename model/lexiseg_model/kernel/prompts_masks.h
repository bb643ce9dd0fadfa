/* A prompt's masks and their quality, from its own maps: read by `prompts.c` once for each width of vectors. */

#if LANES == 16
#define LANE ((WHOLES){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#else
#define LANE ((WHOLES){0, 1, 2, 3, 4, 5, 6, 7})
#endif

/* LANES x LANES numbers, rows and columns exchanged. */
INLINE void NAMED(transpose)(FLOATS *rows) {
#define EXCHANGE(apart)                                                                                               \
    EACH(i, LANES) if (!(i & apart)) {                                                                                \
        FLOATS a = rows[i], b = rows[i + apart];                                                                      \
        WHOLES second = (LANE & apart) / apart;                                                                       \
        rows[i] = __builtin_shuffle(a, b, LANE + second * (LANES - apart));                                           \
        rows[i + apart] = __builtin_shuffle(a, b, LANE + apart + second * (LANES - apart));                           \
    }
    EXCHANGE(1) EXCHANGE(2) EXCHANGE(4)
#if LANES == 16
    EXCHANGE(8)
#endif
#undef EXCHANGE
}

/* Own maps [h, row, MID] to what the masks are made of, channel by channel: [MID, h, w]; `line` is room for a row. */
INLINE const float *NAMED(project)(const Bordered *map, const float *weights, const float *maps, float *narrow, float *line) {
    const float *bias = weights + MID * MID;
    const int64_t w = map->w, plane = map->h * w;
    for (int64_t y = 0; y < map->h; y++) {
        NAMED(products_32)(maps + ((y + 1) * map->row + 1) * MID, MID, MID, w, weights, line);
        for (int64_t x = 0; x < w; x += LANES)
            for (int64_t c = 0; c < MID; c += LANES) {
                FLOATS square[LANES];
                EACH(i, LANES) square[i] = *(const FLOATS *)(line + (x + i) * MID + c) + *(const FLOATS *)(bias + c);
                NAMED(transpose)(square);
                if (x + LANES <= w)
                    EACH(i, LANES) *(FLOATS *)(narrow + (c + i) * plane + y * w + x) = square[i];
                else
                    for (int64_t i = 0; i < LANES; i++)
                        memcpy(narrow + (c + i) * plane + y * w + x, square + i, (size_t)(w - x) * sizeof(float));
            }
    }
    return bias + MID;
}

/* What lies beside LANES cells of a row in between two rows, to the pixels on their left and on their right. */
#define BESIDE(cells, left, right)                                                                                    \
    FLOATS middle_##left = 0.75f * *(const FLOATS *)((cells) + 1);                                                    \
    FLOATS left = middle_##left + 0.25f * *(const FLOATS *)(cells);                                                   \
    FLOATS right = middle_##left + 0.25f * *(const FLOATS *)((cells) + 2);

/* Logits of a row of pixels, two for each of LANES cells, and a quarter of them added to those `above`, if there are some:
 * to `pooled`. `blend` [MID] rows of cells as they are at this row of pixels, one cell further on either side. Those rows,
 * shared maps, logits and pooled ones are `..._apart` numbers from each other. */
INLINE void NAMED(pixels_of)(const int masks, const float *blend, int64_t blend_apart, const float *fine,
                             int64_t fine_apart, const float *edges, float *to, int64_t to_apart, const float *above,
                             float *pooled, int64_t pooled_apart) {
    FLOATS even[MOST], odd[MOST];
    EACH(m, masks) {
        BESIDE(blend + (FINE + m) * blend_apart, left, right)
        even[m] = left, odd[m] = right;
    }
    for (int64_t c = 0; c < FINE; c++, blend += blend_apart, fine += fine_apart, edges += MOST) {
        BESIDE(blend, left, right)
        FLOATS a = *(const FLOATS *)fine, b = *(const FLOATS *)(fine + LANES);
        left *= __builtin_shuffle(a, b, 2 * LANE), right *= __builtin_shuffle(a, b, 2 * LANE + 1);
        EACH(m, masks) even[m] += left * edges[m], odd[m] += right * edges[m];
    }
    EACH(m, masks) {
        WHOLES order = LANE / 2 + (LANE & 1) * LANES;
        FLOATS *row = (FLOATS *)(to + m * to_apart);
        row[0] = __builtin_shuffle(even[m], odd[m], order);
        row[1] = __builtin_shuffle(even[m], odd[m], order + LANES / 2);
        FLOATS quarter = 0.25f * (even[m] + odd[m]);
        if (above) quarter += *(const FLOATS *)(above + m * pooled_apart);
        *(FLOATS *)(pooled + m * pooled_apart) = quarter;
    }
}

/* The same of a row of fewer cells, behind which nothing may be read or written. */
INLINE void NAMED(few_pixels_of)(const int masks, int64_t cells, const float *blend, int64_t blend_apart,
                                 const float *fine, int64_t fine_apart, const float *edges, float *to, int64_t to_apart,
                                 const float *above, float *pooled, int64_t pooled_apart) {
    float shared[FINE * 2 * LANES] = {0}, made[MOST * 2 * LANES], sums[MOST * LANES];
    for (int c = 0; c < FINE; c++)
        memcpy(shared + c * 2 * LANES, fine + c * fine_apart, (size_t)(2 * cells) * sizeof(float));
    NAMED(pixels_of)(masks, blend, blend_apart, shared, 2 * LANES, edges, made, 2 * LANES, NULL, sums, LANES);
    for (int m = 0; m < masks; m++) {
        memcpy(to + m * to_apart, made + m * 2 * LANES, (size_t)(2 * cells) * sizeof(float));
        for (int64_t x = 0; x < cells; x++)
            pooled[m * pooled_apart + x] = sums[m * LANES + x] + (above ? above[m * pooled_apart + x] : 0);
    }
}

/* Logits [masks, 2 h, 2 w] of a prompt, and means of 2 x 2 of them, `pooled` [masks, h, w]. */
INLINE void NAMED(draw)(const int masks, const Job *job, Corner corner, const float *narrow, const float *edges,
                        float *logits, float *pooled, float *room) {
    const int64_t h = job->mid.h, w = job->mid.w, cells = h * w, wide = w + 2 + LANES, apart = 4 * job->height * job->width;
    float *upper = room + MID * wide; /* of `pooled`, from the first of two rows of pixels: as far apart as there */
    for (int64_t y = 0; y < 2 * h; y++, logits += 2 * w) {
        int64_t beside = y % 2 ? y / 2 + 1 : y / 2 - 1;
        int64_t near = y / 2 * w, far = beside < 0 || beside >= h ? near : beside * w;
        const float *fine = job->fine + (2 * corner.y + y) * 2 * job->width + 2 * corner.x;
        const float *above = y % 2 ? upper : NULL;
        float *sums = y % 2 ? pooled + near : upper;
        for (int64_t c = 0; c < FINE + masks; c++) {
            const float *map = narrow + c * cells;
            float *to = room + c * wide;
            for (int64_t cell = 0; cell < w; cell++) to[cell + 1] = 0.75f * map[near + cell] + 0.25f * map[far + cell];
            to[0] = to[1], to[w + 1] = to[w];
        }
        if (w < LANES)
            NAMED(few_pixels_of)(masks, w, room, wide, fine, apart, edges, logits, 4 * cells, above, sums, cells);
        else
            for (int64_t i = 0; i < w; i += LANES) { /* some cells at the end are drawn twice */
                int64_t x = i + LANES <= w ? i : w - LANES;
                NAMED(pixels_of)(masks, room + x, wide, fine + 2 * x, apart, edges, logits + 2 * x, 4 * cells,
                                 above ? above + x : NULL, sums + x, cells);
            }
    }
}

/* Logits to probabilities, in place. */
INLINE void NAMED(probabilities)(float *numbers, int64_t n) {
    for (int64_t i = 0; i < n; i += LANES) {
        FLOATS logit = *(FLOATS *)(numbers + i), small = LARGER(logit, -logit);
        small = -small;
        NAMED(exponential)(&small);
        FLOATS likely = 1 / (1 + small);
        *(FLOATS *)(numbers + i) = (FLOATS)(((WHOLES)likely & (logit > 0)) | ((WHOLES)(small * likely) & ~(logit > 0)));
    }
}

/* Adds what lies under each mask at some cells: shares [masks, `plane`] of rows of w cells, times so many vectors of maps,
 * whose rows have `row` cells, to sums KNOWN numbers apart. */
INLINE void NAMED(under)(const int masks, const int vectors, int64_t h, int64_t w, const float *share, int64_t plane,
                         const float *maps, int64_t row, int64_t channels, float *sums) {
    FLOATS sum[MOST][3];
    EACH(m, masks) EACH(v, vectors) sum[m][v] = ((const FLOATS *)(sums + m * KNOWN))[v];
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            const FLOATS *cell = (const FLOATS *)(maps + (y * row + x) * channels);
            EACH(m, masks) EACH(v, vectors) sum[m][v] += share[m * plane + y * w + x] * cell[v];
        }
    EACH(m, masks) EACH(v, vectors)((FLOATS *)(sums + m * KNOWN))[v] = sum[m][v];
}

/* What lies under the masks of n prompts, of the maps that all share: a few rows for all of them while these are near. */
INLINE void NAMED(look_under)(const int masks, const Job *job, const Corner *corners, int64_t n, float *known) {
    const int64_t h = job->mid.h, w = job->mid.w, rows = w < NEAR ? NEAR / w : 1;
    for (int64_t y = 0; y < h; y += rows)
        for (int64_t i = 0; i < n; i++) {
            const float *maps = job->pixels + ((corners[i].y + y) * job->width + corners[i].x) * PIXELS;
            for (int64_t c = 0; c < PIXELS; c += 3 * LANES)
                NAMED(under)(masks, 3, h - y < rows ? h - y : rows, w, job->inside + i * job->masks + y * w, h * w,
                             maps + c, job->width, PIXELS, known + i * MOST * KNOWN + MID + c);
        }
}

/* Logits of the masks' quality, from what lies under each, `known`, and how sharply it is cut, `inside` [masks, cells]
 * being how likely. */
INLINE void NAMED(judge)(const int masks, const float *weights, int64_t cells, const float *inside, float *known,
                         float *quality) {
    const float *own = weights, *which = own + KNOWN * JUDGED, *second = which + masks * JUDGED;
    const float *second_bias = second + JUDGED * JUDGED, *last = second_bias + JUDGED;
    double total[MOST] = {0}, squares[MOST] = {0};
    float hidden[JUDGED], judged[JUDGED];
    for (int64_t i = 0; i < cells; i++)
        EACH(m, masks) {
            float share = inside[m * cells + i];
            total[m] += share, squares[m] += share * share;
        }
    for (int m = 0; m < masks; m++) {
        float *of_mask = known + m * KNOWN;
        for (int64_t i = 0; i < MID + PIXELS; i++) of_mask[i] /= (float)total[m] + 1;
        of_mask[MID + PIXELS] = (float)(squares[m] / (total[m] + 1e-3));
        of_mask[MID + PIXELS + 1] = (float)((total[m] - squares[m]) / (total[m] + 1));
        of_mask[MID + PIXELS + 2] = logf((float)(total[m] / (double)cells) + 1e-4f);
        NAMED(dense)(of_mask, KNOWN, own, which + m * JUDGED, JUDGED, 1, hidden);
        NAMED(dense)(hidden, JUDGED, second, second_bias, JUDGED, 1, judged);
        quality[m] = last[JUDGED];
        for (int64_t i = 0; i < JUDGED; i++) quality[m] += judged[i] * last[i];
    }
}
