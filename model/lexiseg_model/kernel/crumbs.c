/* Remove crumbs (small islands and holes) from masks: `lexiseg_model.masks.parts.without_crumbs`, cell for cell. */
#include "kernel.h"

typedef struct {
    uint8_t *labels; /* [h, w]: 1 inside the mask */
    int64_t *ends, *areas;      /* these four as of `lexiseg_connect` */
    int32_t *of_run, *classes;
    uint8_t *flags; /* of each region: first whether it touches the picture's edge, then whether it is a crumb */
} Room;

/* Flag the regions that touch the picture's edge. */
static void find_edges(const Room *room, int64_t n_runs, int64_t n_regions, int64_t h, int64_t w) {
    memset(room->flags, 0, (size_t)n_regions);
    for (int64_t run = 0, start = 0; run < n_runs; start = room->ends[run++]) {
        int64_t y = start / w, left = start % w, right = left + room->ends[run] - start;
        if (!y || y == h - 1 || !left || right == w) room->flags[room->of_run[run]] = 1;
    }
}

/* Flip the sign of the logits of a mask's crumbs; returns the number of cells. A part is a crumb below the share `island`
 * of the largest part's area; a hole, which does not touch the edge, below the share `hole` of the whole mask's. */
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
        int crumb = room->classes[i] ? area < island * (double)largest : !room->flags[i] && area < hole * (double)total;
        room->flags[i] = (uint8_t)crumb;
        crumbs += crumb;
    }
    if (!crumbs) return 0;
    for (int64_t run = 0, at = 0; run < n_runs; at = room->ends[run++]) {
        if (!room->flags[room->of_run[run]]) continue;
        for (int64_t i = at; i < room->ends[run]; i++) mask[i] = -mask[i];
        changed += room->ends[run] - at;
    }
    return changed;
}

/* Remove the crumbs of masks [n, h, w], logits, in place; returns the number of changed cells of all masks. */
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
        room.flags = (uint8_t *)(room.classes + runs);
        changed += tidy_mask(masks, h, w, island, hole, &room, runs);
        free(room.ends);
    }
    if (!labels) return OUT_OF_MEMORY;
    free(labels);
    return changed;
}
