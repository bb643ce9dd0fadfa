/* Give the specks of an answer (small islands and holes) to the class around them: `lexiseg_model.masks.specks`. */
#include "kernel.h"

/* A region of cells with the same winner. */
typedef struct {
    int64_t border, votes, agreeing; /* sides to cells of other regions; a majority vote over their winners */
    int32_t around;                  /* the winner that has the majority, if one has */
    uint8_t is_speck, touches_edge;
} Region;

typedef struct {
    const uint16_t *winners; /* [h, w], like `regions` */
    const int32_t *regions;
    int64_t h, w;
    Region *of;
} Map;

/* The winner of each cell: the first of the highest rows. `best` [h * w] is working memory. */
WIDEST static void find_winners(const float *logits, int64_t k, int64_t cells, float *best, uint16_t *winners) {
    memcpy(best, logits, (size_t)cells * sizeof(float));
    memset(winners, 0, (size_t)cells * sizeof(uint16_t));
    for (int64_t row = 1; row < k; row++) {
        const float *here = logits + row * cells;
        for (int64_t i = 0; i < cells; i++) {
            int higher = here[i] > best[i];
            best[i] = higher ? here[i] : best[i];
            winners[i] = higher ? (uint16_t)row : winners[i];
        }
    }
}

/* Count a side between two cells for the region of the first: Boyer and Moore's vote, or how many sides agree with it. */
static void visit(const Map *map, int64_t cell, int64_t next, int counts) {
    Region *region = map->of + map->regions[cell];
    if (!region->is_speck || map->regions[cell] == map->regions[next]) return;
    int32_t winner = map->winners[next];
    if (counts) {
        region->agreeing += winner == region->around;
        return;
    }
    region->border++;
    if (!region->votes) region->around = winner;
    region->votes += winner == region->around ? 1 : -1;
}

static void visit_sides(const Map *map, int counts) {
    for (int64_t y = 0, cell = 0; y < map->h; y++)
        for (int64_t x = 0; x < map->w; x++, cell++) {
            if (x + 1 < map->w) {
                visit(map, cell, cell + 1, counts);
                visit(map, cell + 1, cell, counts);
            }
            if (y + 1 < map->h) {
                visit(map, cell, cell + map->w, counts);
                visit(map, cell + map->w, cell, counts);
            }
        }
}

/* Flag the specks; returns their number. `largest` [k] is working memory. */
static int64_t find_specks(const Map *map, int64_t n, const int64_t *areas, const int32_t *classes, int64_t k,
                           int64_t n_classes, double island, double most, double hole, int64_t *largest) {
    double cells = (double)(map->h * map->w);
    int64_t found = 0;
    memset(largest, 0, (size_t)k * sizeof(int64_t));
    for (int64_t i = 0; i < n; i++)
        if (areas[i] > largest[classes[i]]) largest[classes[i]] = areas[i];
    for (int64_t y = 0, cell = 0; y < map->h; y++)
        for (int64_t x = 0; x < map->w; x++, cell++)
            if (!y || !x || y == map->h - 1 || x == map->w - 1) map->of[map->regions[cell]].touches_edge = 1;
    for (int64_t i = 0; i < n; i++) {
        double area = (double)areas[i];
        int is_island = classes[i] < n_classes && area < island * (double)largest[classes[i]] && area / cells < most;
        int is_hole = classes[i] >= n_classes && !map->of[i].touches_edge && area / cells < hole;
        map->of[i].is_speck = is_island || is_hole;
        found += map->of[i].is_speck;
    }
    return found;
}

/* Copy logits [k, h, w], and in each speck exchange those of the winner and of the class around it.
 *
 * Rows from `n_classes` on are background. A region of a class is a speck below the share `island` of the largest region of its
 * class and `most` of the picture; one of the background, which does not touch the edge, below the share `hole` of the picture:
 * if the share `border` of its sides is with one winner. Returns the number of specks that may be exchanged. */
API int64_t lexiseg_specks(const float *logits, int64_t k, int64_t n_classes, int64_t h, int64_t w, double island,
                           double most, double hole, double border, float *cleaned) {
    const int64_t cells = h * w;
    memcpy(cleaned, logits, (size_t)(k * cells) * sizeof(float));
    /* No more regions and runs than cells. */
    int64_t *room = malloc((size_t)(2 * cells + k) * sizeof(int64_t));
    int32_t *numbers = malloc((size_t)cells * (3 * sizeof(int32_t) + sizeof(float) + sizeof(uint16_t)));
    Region *of = calloc((size_t)cells, sizeof(Region));
    int64_t found = OUT_OF_MEMORY;
    if (room && numbers && of) {
        int64_t *ends = room, *areas = ends + cells, *largest = areas + cells;
        int32_t *of_run = numbers, *classes = of_run + cells, *regions = classes + cells;
        float *best = (float *)(regions + cells);
        uint16_t *winners = (uint16_t *)(best + cells);
        find_winners(logits, k, cells, best, winners);
        int64_t n_runs = lexiseg_count_row_runs(winners, h, w, 1);
        int64_t n = lexiseg_connect(winners, h, w, 1, n_runs, ends, of_run, areas, classes);
        for (int64_t run = 0, at = 0; run < n_runs; run++)
            for (; at < ends[run]; at++) regions[at] = of_run[run];
        Map map = {winners, regions, h, w, of};
        found = find_specks(&map, n, areas, classes, k, n_classes, island, most, hole, largest);
        if (found) {
            visit_sides(&map, 0);
            visit_sides(&map, 1);
        }
        for (int64_t i = 0; found && i < cells; i++) {
            const Region *region = of + regions[i];
            if (!region->is_speck || !region->border || (double)region->agreeing < border * (double)region->border) continue;
            int64_t here = winners[i] * cells + i, there = region->around * cells + i;
            cleaned[here] = logits[there];
            cleaned[there] = logits[here];
        }
    }
    free(of);
    free(numbers);
    free(room);
    return found;
}
