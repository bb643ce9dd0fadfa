/* What lone points say of every cell: `lexiseg_model.methods.tiny.prompt_maps.lone_maps`, to 1e-5. */
#include "kernel.h"

#include <math.h>

#include "power.h"

enum { NEAR = 64 }; /* cells whose pixels stay in the first cache */

/* Wider than WIDEST, for which other parts have too little to do. */
#if MANY_PROCESSORS
#define WIDER __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDER
#endif

/* exp(-distance / scale) of the cells of a row, `across` from a point [n] and `down` of it, for each of the scales. */
WIDER static void trace(const float *across, float down, int64_t n, float scale, float *to) {
    float by = -1 / scale;
    for (int64_t x = 0; x < n; x++) {
        float power = sqrtf(across[x] * across[x] + down * down) * by;
        to[x] = power_of_e(power < -87 ? -87 : power);
    }
}

/* Products of a vector [depth] with `cells` of planes [depth, plane]. */
WIDER static void compare_planes(const float *vector, const float *planes, int64_t plane, int64_t depth, int64_t cells,
                                  float *restrict to) {
    memset(to, 0, (size_t)cells * sizeof(float));
    for (int64_t d = 0; d < depth; d++, planes += plane)
        for (int64_t cell = 0; cell < cells; cell++) to[cell] += vector[d] * planes[cell];
}

/* The same with rows [cells, depth], whose depth is a multiple of 16. */
WIDER static void compare_rows(const float *vector, const float *rows, int64_t depth, int64_t cells, float *to) {
    for (int64_t cell = 0; cell < cells; cell++, rows += depth) {
        float parts[16] = {0}, sum = 0;
        for (int64_t d = 0; d < depth; d += 16)
            for (int i = 0; i < 16; i++) parts[i] += vector[d + i] * rows[d + i];
        for (int i = 0; i < 16; i++) sum += parts[i];
        to[cell] = sum;
    }
}

static int64_t cell_of(float place, int64_t stride, int64_t n) {
    float cell = place / (float)stride;
    return !(cell > 0) ? 0 : cell >= (float)n ? n - 1 : (int64_t)cell;
}

/* The cell that a point (x, y) lies in. */
static int64_t under(const float *point, int64_t stride, int64_t h, int64_t w) {
    return cell_of(point[1], stride, h) * w + cell_of(point[0], stride, w);
}

/* points [n, 2] (x, y) in pixels, `stride` of which are a cell; grouping [heads * depth, height, width], pixels [height,
 * width, channels], a multiple of 16. said [n, n_scales + 1 + heads + 1, h, w]: traces, ones, likeness by each head and by
 * pixels, of the h x w cells from corners [n, 2], row and column, on. */
API int64_t lexiseg_lone_points(const float *points, const int64_t *corners, int64_t n, int64_t stride,
                                const float *scales, int64_t n_scales, const float *grouping, int64_t heads, int64_t depth,
                                const float *pixels, int64_t channels, int64_t height, int64_t width, int64_t h, int64_t w,
                                float *said) {
    int64_t cells = h * w, plane = height * width, said_of_each = n_scales + 1 + heads + 1;
    float *first = said, *across = malloc((size_t)(w + depth) * sizeof(float));
    if (!across) return OUT_OF_MEMORY;
    float *vector = across + w;
    for (int64_t point = 0; point < n; point++) {
        float left = points[2 * point], top = points[2 * point + 1];
        int64_t row = corners[2 * point], column = corners[2 * point + 1];
        for (int64_t x = 0; x < w; x++) across[x] = ((float)(column + x) + 0.5f) * (float)stride - left;
        for (int64_t i = 0; i < n_scales; i++, said += cells)
            for (int64_t y = 0; y < h; y++)
                trace(across, ((float)(row + y) + 0.5f) * (float)stride - top, w, scales[i], said + y * w);
        for (int64_t cell = 0; cell < cells; cell++) said[cell] = 1;
        said += cells;
        int64_t here = under(points + 2 * point, stride, height, width);
        for (int64_t head = 0; head < heads; head++, said += cells) {
            const float *planes = grouping + head * depth * plane, *from = planes + row * width + column;
            for (int64_t d = 0; d < depth; d++) vector[d] = planes[d * plane + here];
            if (w == width) compare_planes(vector, from, plane, depth, cells, said);
            else
                for (int64_t y = 0; y < h; y++) compare_planes(vector, from + y * width, plane, depth, w, said + y * w);
        }
        said += cells;
    }
    free(across);
    int64_t rows = w < NEAR ? NEAR / w : 1;
    for (int64_t y = 0; y < h; y += rows) { /* some cells for all points, while these are near */
        int64_t end = y + rows < h ? y + rows : h;
        for (int64_t point = 0; point < n; point++) {
            const float *own = pixels + under(points + 2 * point, stride, height, width) * channels;
            for (int64_t i = y; i < end; i++) {
                const float *seen = pixels + ((corners[2 * point] + i) * width + corners[2 * point + 1]) * channels;
                compare_rows(own, seen, channels, w, first + ((point + 1) * said_of_each - 1) * cells + i * w);
            }
        }
    }
    return 0;
}
