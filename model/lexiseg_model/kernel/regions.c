/* Connected regions of a label map, all classes in one pass: runs along the rows, joined with those of the row above. */
#include "kernel.h"

/* End (exclusive) of the run that begins at `from`, at most `limit`; compares eight bytes at a time. */
static inline int64_t end_of_run(const void *labels, int64_t from, int64_t limit, int wide) {
    uint32_t value = label_at(labels, from, wide);
    uint64_t eight = wide ? value * 0x0001000100010001ull : value * 0x0101010101010101ull;
    int64_t step = wide ? 4 : 8, at = from + 1;
    for (; at + step <= limit; at += step) {
        uint64_t some;
        memcpy(&some, (const char *)labels + (at << wide), 8);
        if (some != eight) break;
    }
    while (at < limit && label_at(labels, at, wide) == value) at++;
    return at;
}

/* The first run of a run's region: union-find with path halving. */
static inline int32_t root_of(int32_t *parent, int32_t run) {
    while (parent[run] != run) run = parent[run] = parent[parent[run]];
    return run;
}

/* Number of runs of a map [H, W] along its rows; each row begins a new one. */
API int64_t lexiseg_count_row_runs(const void *labels, int64_t height, int64_t width, int64_t wide) {
    int64_t n = 0;
    for (int64_t at = 0, limit = width; limit <= height * width; limit += width)
        for (; at < limit; n++) at = end_of_run(labels, at, limit, (int)wide);
    return n;
}

/* Find the 4-connected regions, in row-major order of their first pixels; returns their number.
 *
 * n: number of runs, of `lexiseg_count_row_runs`. Outputs: ends [n], y * W + x one past each run; region [n] of each run;
 * areas (pixels) and classes of each region, room for [n]. */
API int64_t lexiseg_connect(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t n, int64_t *ends,
                            int32_t *region, int64_t *areas, int32_t *classes) {
    int64_t above = 0, above_end = 0; /* the runs of the row above */
    int64_t run = 0;
    for (int64_t y = 0; y < height; y++) {
        int64_t limit = (y + 1) * width, first = run;
        int64_t upper = above;
        for (int64_t at = limit - width; at < limit; run++) {
            ends[run] = end_of_run(labels, at, limit, (int)wide);
            classes[run] = (int32_t)label_at(labels, at, (int)wide);
            region[run] = (int32_t)run; /* its parent in the union-find, until all are joined */
            /* The runs above that overlap this one. */
            while (upper < above_end && ends[upper] <= at - width) upper++;
            for (int64_t over = upper; over < above_end; over++) {
                if (classes[over] == classes[run]) {
                    int32_t a = root_of(region, (int32_t)over), b = root_of(region, (int32_t)run);
                    if (a < b) region[b] = a;
                    if (b < a) region[a] = b;
                }
                if (ends[over] >= ends[run] - width) break;
            }
            at = ends[run];
        }
        above = first;
        above_end = run;
    }
    /* A parent precedes its runs, so one pass numbers all regions. */
    int64_t n_regions = 0;
    for (int64_t i = 0, at = 0; i < n; at = ends[i++]) {
        int32_t number = region[i] == i ? (int32_t)n_regions++ : region[region[i]];
        if (region[i] == i) {
            areas[number] = 0;
            classes[number] = classes[i];
        }
        region[i] = number;
        areas[number] += ends[i] - at;
    }
    return n_regions;
}
