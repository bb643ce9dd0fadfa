/* Crumbs of masks: `lexiseg_model.masks.crumbs`, with the same cells. */
#include "kernel.h"

typedef struct {
    uint8_t *labels; /* [h, w]: 1 where the mask holds */
    int64_t *ends, *areas;
    int32_t *of_run, *classes;
    uint8_t *edge; /* of each region, whether it touches the picture's edge, then whether it is a crumb */
} Room;

/* Which regions touch the edge. */
static void find_edges(const Room *room, int64_t n_runs, int64_t n_regions, int64_t h, int64_t w) {
    memset(room->edge, 0, (size_t)n_regions);
    for (int64_t run = 0, start = 0; run < n_runs; start = room->ends[run++]) {
        int64_t y = start / w, left = start % w, right = left + room->ends[run] - start;
        if (!y || y == h - 1 || !left || right == w) room->edge[room->of_run[run]] = 1;
    }
}

/* Cells of a mask whose parts are small beside its largest (`island`) or, left out and amid it, beside all of it
 * (`hole`): their logits change sign. Returns at how many. */
static int64_t tidy_mask(float *mask, int64_t h, int64_t w, double island, double hole, Room *room, int64_t n_runs) {
    int64_t n = lexiseg_connect(room->labels, h, w, 0, n_runs, room->ends, room->of_run, room->areas, room->classes);
    if (n < 2) return 0;
    find_edges(room, n_runs, n, h, w);
    int64_t largest = 0, total = 0, changed = 0, crumbs = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!room->classes[i]) continue;
        total += room->areas[i];
        if (room->areas[i] > largest) largest = room->areas[i];
    }
    for (int64_t i = 0; i < n; i++) {
        double area = (double)room->areas[i];
        int crumb = room->classes[i] ? area < island * (double)largest : !room->edge[i] && area < hole * (double)total;
        room->edge[i] = (uint8_t)crumb;
        crumbs += crumb;
    }
    if (!crumbs) return 0;
    for (int64_t run = 0, at = 0; run < n_runs; at = room->ends[run++]) {
        if (!room->edge[room->of_run[run]]) continue;
        for (int64_t i = at; i < room->ends[run]; i++) mask[i] = -mask[i];
        changed += room->ends[run] - at;
    }
    return changed;
}

/* masks [n, h, w] logits, changed in place. Returns how many cells of all masks were. */
API int64_t lexiseg_crumbs(float *masks, int64_t n, int64_t h, int64_t w, double island, double hole) {
    int64_t cells = h * w, changed = 0;
    uint8_t *labels = malloc((size_t)cells);
    for (int64_t mask = 0; labels && mask < n; mask++, masks += cells) {
        for (int64_t i = 0; i < cells; i++) labels[i] = masks[i] > 0;
        int64_t runs = lexiseg_count_row_runs(labels, h, w, 0);
        Room room = {.labels = labels, .ends = malloc((size_t)runs * (2 * sizeof(int64_t) + 2 * sizeof(int32_t) + 1))};
        if (!room.ends) {
            free(labels);
            return OUT_OF_MEMORY;
        }
        room.areas = room.ends + runs;
        room.of_run = (int32_t *)(room.areas + runs);
        room.classes = room.of_run + runs;
        room.edge = (uint8_t *)(room.classes + runs);
        changed += tidy_mask(masks, h, w, island, hole, &room, runs);
        free(room.ends);
    }
    if (!labels) return OUT_OF_MEMORY;
    free(labels);
    return changed;
}
