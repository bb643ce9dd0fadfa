/* What masks show of themselves: `lexiseg_model.methods.tiny.click_order`. Counts are equal, sums are alike. */
#include "kernel.h"

/* Sums of contrast at the sides between cells of a mask and cells that are not, and how many there are. */
typedef struct {
    double contrast;
    int64_t sides;
} Outline;

/* Between `n` cells and their neighbours `apart` numbers on; of a row the sums are of four bytes each. */
WIDEST static void meet(const float *cells, int64_t apart, int64_t n, const float *contrast, Outline *outline) {
    float parts[16] = {0};
    int32_t sides = 0;
    int64_t x = 0;
    for (; x + 16 <= n; x += 16)
        for (int i = 0; i < 16; i++) {
            int border = (cells[x + i] > 0) != (cells[x + i + apart] > 0);
            parts[i] += border ? contrast[x + i] : 0;
            sides += border;
        }
    for (; x < n; x++) {
        int border = (cells[x] > 0) != (cells[x + apart] > 0);
        parts[0] += border ? contrast[x] : 0;
        sides += border;
    }
    for (int i = 0; i < 16; i++) outline->contrast += parts[i];
    outline->sides += sides;
}

/* How many of every `every`th cell of a row are above each of three thresholds. */
static void count_above(const float *row, int64_t w, int64_t every, const float *least, int64_t *above) {
    int64_t counts[3] = {0};
    for (int64_t x = 0; x < w; x += every)
        for (int i = 0; i < 3; i++) counts[i] += row[x] > least[i];
    for (int i = 0; i < 3; i++) above[i] += counts[i];
}

/* masks [n, h, w] logits; across [h, w - 1] and down [h - 1, w] contrast between neighbours. For each mask, shown
 * [n, 5]: of the cells that are looked at those above 0, `around` and -`around`; the contrast along its outline, and the
 * sides of cells that this has. */
API int64_t lexiseg_evidence(const float *masks, int64_t n, int64_t h, int64_t w, const float *across, const float *down,
                             int64_t every, double around, double *shown) {
    const float least[] = {0, (float)around, -(float)around};
    for (int64_t mask = 0; mask < n; mask++, masks += h * w, shown += 5) {
        int64_t above[3] = {0};
        Outline outline = {0};
        for (int64_t y = 0; y < h; y++) {
            const float *row = masks + y * w;
            if (y % every == 0) count_above(row, w, every, least, above);
            meet(row, 1, w - 1, across + y * (w - 1), &outline);
            if (y + 1 < h) meet(row, w, w, down + y * w, &outline);
        }
        for (int i = 0; i < 3; i++) shown[i] = (double)above[i];
        shown[3] = outline.contrast;
        shown[4] = (double)outline.sides;
    }
    return 0;
}
