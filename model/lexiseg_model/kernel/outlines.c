/* Trace the outlines of a mask from its runs: `lexiseg_model.masks.encodings` without reading pixels.
 *
 * Between two neighbouring columns the outline has a corner where only one column enters or leaves the mask, and two
 * where both change in opposite directions. So one merge of the changes of both columns finds the corners, and links
 * each to its neighbour in the row and in the column. */
#include "kernel.h"

typedef struct {
    int64_t *x, *y;       /* of each corner; one that the outline passes twice is stored twice */
    int64_t *across;      /* index of the neighbouring corner in the same row */
    int64_t *along;       /* index of the neighbouring corner in the same column */
    int64_t *run;         /* where a run's lower edge begins: the corner where its upper edge begins; else -1 */
    uint8_t *forward;     /* whether the outline, with the mask on its right, leaves the corner along the row */
    int64_t n;
} Corners;

typedef struct {
    int64_t y;
    int64_t from; /* index of the corner where this edge began */
} Edge;

/* Append a corner; returns its index. */
static int64_t corner(Corners *c, int64_t x, int64_t y) {
    c->x[c->n] = x;
    c->y[c->n] = y;
    c->run[c->n] = -1;
    return c->n++;
}

/* End a horizontal edge at a corner. Upper edges run to the right, lower ones to the left. */
static void end(Corners *c, const Edge *edge, int64_t at, int lower) {
    c->across[at] = edge->from;
    c->across[edge->from] = at;
    c->forward[edge->from] = !lower;
    c->forward[at] = (uint8_t)lower;
}

/* Add the corners between two columns, `left` of x and `right` of it. Edges are sorted by y; even ones enter the mask, odd
 * ones leave it. */
static void border(Corners *c, int64_t x, const Edge *left, int64_t n_left, Edge *right, int64_t n_right) {
    int64_t i = 0, j = 0, first = c->n;
    while (i < n_left || j < n_right) {
        if (j == n_right || (i < n_left && left[i].y < right[j].y)) {
            end(c, &left[i], corner(c, x, left[i].y), i & 1);
            i++;
        } else if (i == n_left || right[j].y < left[i].y) {
            right[j].from = corner(c, x, right[j].y);
            if (j & 1) c->run[right[j].from] = right[j - 1].from;
            j++;
        } else {
            if ((i & 1) == (j & 1)) {
                right[j].from = left[i].from;
            } else {
                /* Two parts touch here: the first copy of the corner continues upwards. */
                int64_t upper = corner(c, x, left[i].y), lower = corner(c, x, left[i].y);
                int falling = i & 1; /* upper left and lower right */
                end(c, &left[i], falling ? upper : lower, i & 1);
                right[j].from = falling ? lower : upper;
                if (j & 1) c->run[right[j].from] = right[j - 1].from;
            }
            i++;
            j++;
        }
    }
    for (int64_t k = first; k < c->n; k++) c->along[k] = first + ((k - first) ^ 1);
}

/* The representative of a loop's part: union-find with path halving. */
static int64_t root(int64_t *parent, int64_t loop) {
    while (parent[loop] != loop) loop = parent[loop] = parent[parent[loop]];
    return loop;
}

/* Trace all outlines; returns the number of loops.
 *
 * spans [n, 2]: begin and end of the mask's runs as x * H + y, ascending. capacity: at least four corners for each column of
 * each run. Outputs: corners [capacity, 2] as x, y; loops [capacity / 4, 3]: one past the loop's last corner, twice its
 * signed area (negative for a hole), the number of its part. A loop begins at its uppermost, then leftmost corner and keeps
 * the mask on its right. */
API int64_t lexiseg_outlines(const int64_t *spans, int64_t n, int64_t height, int64_t width, int64_t capacity,
                             int64_t *corners, int64_t *loops) {
    int64_t *block = malloc((size_t)capacity * (7 * sizeof(int64_t) + 2 * sizeof(Edge) + 2));
    if (!block) return OUT_OF_MEMORY;
    Corners c = {block, block + capacity, block + 2 * capacity, block + 3 * capacity, block + 4 * capacity, NULL, 0};
    int64_t *loop_of = block + 5 * capacity, *parent = block + 6 * capacity;
    Edge *before = (Edge *)(block + 7 * capacity), *now = before + capacity;
    c.forward = (uint8_t *)(now + capacity);
    uint8_t *seen = c.forward + capacity;

    int64_t n_before = 0, k = 0, at = n ? spans[0] : 0; /* where the remainder of span k begins */
    for (int64_t x = n ? spans[0] / height : 0; x <= width && (k < n || n_before); x++) {
        int64_t n_now = 0, last = (x + 1) * height;
        while (k < n && at < last && x < width) {
            int64_t stop = spans[2 * k + 1] < last ? spans[2 * k + 1] : last;
            now[n_now++].y = at - x * height;
            now[n_now++].y = stop - x * height;
            if (spans[2 * k + 1] > last) {
                at = last;
                break;
            }
            if (++k < n) at = spans[2 * k];
        }
        if (n_now || n_before) border(&c, x, before, n_before, now, n_now);
        Edge *swap = before;
        before = now;
        now = swap;
        n_before = n_now;
    }

    memset(seen, 0, (size_t)c.n);
    int64_t n_loops = 0, written = 0;
    for (int64_t start = 0; start < c.n; start++) {
        if (seen[start]) continue;
        int64_t begin = written, top = written, area = 0;
        /* Start along the row in the outline's direction. */
        int64_t p = c.forward[start] ? start : c.across[start];
        do {
            for (int half = 0; half < 2; half++) {
                seen[p] = 1;
                loop_of[p] = n_loops;
                corners[2 * written] = c.x[p];
                corners[2 * written + 1] = c.y[p];
                if (c.y[p] < corners[2 * top + 1] || (c.y[p] == corners[2 * top + 1] && c.x[p] < corners[2 * top]))
                    top = written;
                int64_t next = half ? c.along[p] : c.across[p];
                area += c.x[p] * c.y[next] - c.x[next] * c.y[p];
                written++;
                p = next;
            }
        } while (!seen[p]);
        /* Rotate, so that the uppermost corner comes first. */
        int64_t length = written - begin, shift = top - begin;
        if (shift) {
            int64_t *turned = (int64_t *)now; /* the column buffer is free now */
            memcpy(turned, corners + 2 * begin, (size_t)(2 * length) * sizeof(int64_t));
            memcpy(corners + 2 * begin, turned + 2 * shift, (size_t)(2 * (length - shift)) * sizeof(int64_t));
            memcpy(corners + 2 * (begin + length - shift), turned, (size_t)(2 * shift) * sizeof(int64_t));
        }
        loops[3 * n_loops] = written;
        loops[3 * n_loops + 1] = area;
        parent[n_loops] = n_loops;
        n_loops++;
    }
    /* The upper and the lower edge of a run belong to the same part. */
    for (int64_t p = 0; p < c.n; p++)
        if (c.run[p] >= 0) parent[root(parent, loop_of[p])] = root(parent, loop_of[c.run[p]]);
    for (int64_t loop = 0; loop < n_loops; loop++) loops[3 * loop + 2] = root(parent, loop);
    free(block);
    return n_loops;
}
