/* Logits of masks, from a prompt's own maps and those that all prompts of an image share: `MaskOutput` of tiny's prompt
 * head. The own maps are upsampled a row at a time, so that what is multiplied stays in the cache. */
#include "kernel.h"

enum { LANES = 8, TOGETHER = 4 }; /* pixels, and masks whose sums stay in registers */

typedef float Floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Where a row of pixels lies between two rows of each own map, and beside the shared maps. */
typedef struct {
    const float *upper, *lower; /* of the first map; the next is `plane` further */
    int64_t plane;
    float weight; /* of the lower row */
    const float *fine;
    int64_t fine_plane;
} Row;

/* A row of the own maps to its width in pixels. */
WIDEST static void stretch(const float *low, int64_t w, const int64_t *x_low, const float *x_weight, int64_t width,
                           float *restrict wide) {
    for (int64_t p = 0; p < width; p++) {
        int64_t left = x_low[p], right = left + 1 < w ? left + 1 : left;
        wide[p] = low[left] + x_weight[p] * (low[right] - low[left]);
    }
}

#define ADD(which) sum##which += seen * weights[(which)*channels + c]
/* TOGETHER masks; weights [TOGETHER, channels]; to [TOGETHER, width], `apart` numbers from each other, which hold the
 * part that no shared map has a say in. */
WIDEST static void four_masks(const Row *row, int64_t channels, const float *weights, int64_t width, float *to,
                              int64_t apart) {
    int64_t p = 0;
    for (; p + LANES <= width; p += LANES) {
        Floats sum0 = *(Floats *)(to + p), sum1 = *(Floats *)(to + apart + p);
        Floats sum2 = *(Floats *)(to + 2 * apart + p), sum3 = *(Floats *)(to + 3 * apart + p);
        for (int64_t c = 0; c < channels; c++) {
            Floats upper = *(const Floats *)(row->upper + c * row->plane + p);
            Floats lower = *(const Floats *)(row->lower + c * row->plane + p);
            Floats seen = (upper + row->weight * (lower - upper)) * *(const Floats *)(row->fine + c * row->fine_plane + p);
            ADD(0);
            ADD(1);
            ADD(2);
            ADD(3);
        }
        *(Floats *)(to + p) = sum0, *(Floats *)(to + apart + p) = sum1;
        *(Floats *)(to + 2 * apart + p) = sum2, *(Floats *)(to + 3 * apart + p) = sum3;
    }
    for (; p < width; p++)
        for (int64_t c = 0; c < channels; c++) {
            float upper = row->upper[c * row->plane + p], lower = row->lower[c * row->plane + p];
            float seen = (upper + row->weight * (lower - upper)) * row->fine[c * row->fine_plane + p];
            for (int m = 0; m < TOGETHER; m++) to[m * apart + p] += seen * weights[m * channels + c];
        }
}

/* As `four_masks`, of one. */
WIDEST static void one_mask(const Row *row, int64_t channels, const float *weights, int64_t width, float *restrict to) {
    for (int64_t c = 0; c < channels; c++) {
        const float *upper = row->upper + c * row->plane, *lower = row->lower + c * row->plane;
        const float *fine = row->fine + c * row->fine_plane;
        for (int64_t p = 0; p < width; p++)
            to[p] += (upper[p] + row->weight * (lower[p] - upper[p])) * fine[p] * weights[c];
    }
}

/* Logits [n, m, height, width] of n prompts with m masks each.
 *
 * maps [n, channels + m, h, w]: what multiplies the shared maps fine [channels, height, width], and what is added;
 * weights [m, channels] and bias [m] of the products; y_low, y_weight [height] and x_low, x_weight [width]: where the
 * pixels lie between the cells of the maps. */
API int64_t lexiseg_mask_logits(const float *maps, int64_t n, int64_t channels, int64_t m, int64_t h, int64_t w,
                                const float *fine, const float *weights, const float *bias, const int64_t *y_low,
                                const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                                int64_t width, float *logits) {
    int64_t planes = channels + m, plane = h * width, pixels = height * width;
    float *wide = malloc((size_t)(planes * plane) * sizeof(float));
    if (!wide) return OUT_OF_MEMORY;
    for (int64_t prompt = 0; prompt < n; prompt++, maps += planes * h * w, logits += m * pixels) {
        for (int64_t y = 0; y < planes * h; y++) stretch(maps + y * w, w, x_low, x_weight, width, wide + y * width);
        for (int64_t y = 0; y < height; y++) {
            int64_t below = y_low[y] + 1 < h ? y_low[y] + 1 : y_low[y];
            Row row = {wide + y_low[y] * width, wide + below * width, plane, y_weight[y], fine + y * width, pixels};
            float *to = logits + y * width;
            for (int64_t mask = 0; mask < m; mask++) {
                const float *upper = row.upper + (channels + mask) * plane, *lower = row.lower + (channels + mask) * plane;
                for (int64_t p = 0; p < width; p++)
                    to[mask * pixels + p] = bias[mask] + (upper[p] + row.weight * (lower[p] - upper[p]));
            }
            int64_t mask = 0;
            for (; mask + TOGETHER <= m; mask += TOGETHER)
                four_masks(&row, channels, weights + mask * channels, width, to + mask * pixels, pixels);
            for (; mask < m; mask++) one_mask(&row, channels, weights + mask * channels, width, to + mask * pixels);
        }
    }
    free(wide);
    return 0;
}
