/* Resize pictures bit by bit as OpenCV does, which is its twin: for the page, where there is none. */
#include "kernel.h"
#include <math.h>

#define EVEN 1e-3 /* smaller parts of a pixel are ignored, as in OpenCV's area interpolation */
#define BELOW_ONE 0x1.fffffep-1f /* two negative inputs never interpolate to 0 */
enum { FIXED = 2048 }; /* 1 in OpenCV's fixed-point weights of bytes */

typedef struct {
    int64_t most, *first, *count; /* inputs of an output: at most, the first, how many; outside the picture the nearest */
    double *weights;              /* [outputs, most] */
} Taps;

typedef struct {
    int64_t from, to;
    int area, steps, fixed; /* by covered area; an axis enlarged while the picture becomes smaller; weights of FIXED */
} Axis;

static int allocate(Taps *taps, const Axis *axis) {
    taps->most = axis->area ? axis->from / axis->to + 3 : 2;
    taps->first = malloc((size_t)(2 * axis->to) * sizeof(int64_t));
    taps->count = taps->first ? taps->first + axis->to : NULL;
    taps->weights = malloc((size_t)(axis->to * taps->most) * sizeof(double));
    return taps->first && taps->weights;
}

static void fill(Taps *taps, const Axis *axis) {
    double scale = (double)axis->from / (double)axis->to;
    for (int64_t place = 0; place < axis->to; place++) {
        double begin = (double)place * scale, *weights = taps->weights + place * taps->most;
        float middle = (float)(((double)place + 0.5) * scale - 0.5);
        double first = floor(axis->steps ? begin : middle), over = (double)place + 1 - (first + 1) / scale;
        float beyond = (float)(axis->steps ? fmod(over > 0 ? over : 0, 1) : middle - first);
        taps->count[place] = 2;
        weights[0] = 1 - (double)beyond, weights[1] = beyond;
        if (axis->fixed) weights[0] = rint(weights[0] * FIXED), weights[1] = rint(weights[1] * FIXED);
        if (axis->area) {
            double end = begin + scale < (double)axis->from ? begin + scale : (double)axis->from;
            first = floor(begin + EVEN);
            taps->count[place] = (int64_t)(ceil(end - EVEN) - first);
            for (int64_t i = 0; i < taps->count[place]; i++) {
                double left = first + (double)i > begin ? first + (double)i : begin;
                double right = first + (double)(i + 1) < end ? first + (double)(i + 1) : end;
                weights[i] = (float)((right - left) / (end - begin));
            }
        }
        taps->first[place] = (int64_t)first;
    }
}

static int64_t within(int64_t place, int64_t n) { return place < 0 ? 0 : place < n ? place : n - 1; }

/* A row of a picture, resized across: the first `kept` of `channels` bytes of each pixel. */
static void across(const uint8_t *row, const Axis *axis, const Taps *taps, int64_t channels, int64_t kept, float *line) {
    for (int64_t x = 0; x < axis->to; x++)
        for (int64_t c = 0; c < kept; c++) {
            float sum = 0;
            for (int64_t tap = 0; tap < taps->count[x]; tap++) {
                uint8_t value = row[within(taps->first[x] + tap, axis->from) * channels + c];
                sum += (float)(taps->weights[x * taps->most + tap] * value);
            }
            line[x * kept + c] = sum;
        }
}

/* Add a line to the sums of an output row. */
static void add(const float *line, double weight, int fixed, int64_t n, float *sums) {
    if (fixed)
        for (int64_t i = 0; i < n; i++) sums[i] += (float)((int32_t)weight * ((int32_t)line[i] >> 4) >> 16);
    else
        for (int64_t i = 0; i < n; i++) sums[i] += (float)(weight * line[i]);
}

/* The bytes of sums, halves to even. */
static void round_to_bytes(const float *sums, int fixed, int64_t n, uint8_t *row) {
    for (int64_t i = 0; i < n; i++) {
        float value = fixed ? (float)(((int32_t)sums[i] + 2) >> 2) : rintf(sums[i]);
        row[i] = (uint8_t)(value < 0 ? 0 : value < 255 ? value : 255);
    }
}

/* Resize a picture [height, width, channels] of bytes to [rows, columns, kept], of bytes or (`floats`) float32: by area if
 * it becomes smaller, else, or if `linear`, linearly. */
API int64_t lexiseg_resize(const uint8_t *source, int64_t height, int64_t width, int64_t rows, int64_t columns,
                           int64_t channels, int64_t kept, int64_t linear, int64_t floats, void *target) {
    int smaller = !linear && rows * columns < height * width, area = smaller && rows <= height && columns <= width;
    int fixed = !area && !floats;
    int64_t n = columns * kept, lines_of[2] = {-1, -1};
    float half = height == 2 * rows && width == 2 * columns && !floats ? 0.125f : 0; /* OpenCV rounds halves up there */
    Axis down = {height, rows, area, smaller, fixed}, side = {width, columns, area, smaller, fixed};
    Taps of_rows = {0}, of_columns = {0};
    float *lines = malloc((size_t)(3 * n) * sizeof(float)), *sums = lines ? lines + 2 * n : NULL;
    int64_t failed = allocate(&of_rows, &down) & allocate(&of_columns, &side) && lines ? 0 : OUT_OF_MEMORY;
    if (!failed) fill(&of_rows, &down), fill(&of_columns, &side);
    for (int64_t y = 0; !failed && y < rows; y++) {
        for (int64_t i = 0; i < n; i++) sums[i] = half;
        for (int64_t tap = 0; tap < of_rows.count[y]; tap++) {
            int64_t row = within(of_rows.first[y] + tap, height);
            float *line = lines + (row & 1) * n; /* the row before may be used again */
            if (lines_of[row & 1] != row) across(source + row * width * channels, &side, &of_columns, channels, kept, line);
            lines_of[row & 1] = row;
            add(line, of_rows.weights[y * of_rows.most + tap], fixed, n, sums);
        }
        if (floats)
            memcpy((float *)target + y * n, sums, (size_t)n * sizeof(float));
        else
            round_to_bytes(sums, fixed, n, (uint8_t *)target + y * n);
    }
    free(lines);
    free(of_rows.first), free(of_rows.weights), free(of_columns.first), free(of_columns.weights);
    return failed;
}

/* Where the centres of `to` pixels lie among `from` cells, as `masks.upsample.axis`: the lower cell [to], and the weight of
 * the next [to]. */
API int64_t lexiseg_axis(int64_t from, int64_t to, int64_t *low, float *weight) {
    for (int64_t pixel = 0; pixel < to; pixel++) {
        double place = ((double)pixel + 0.5) * ((double)from / (double)to) - 0.5, last = (double)(from - 1);
        place = place < 0 ? 0 : place < last ? place : last;
        low[pixel] = (int64_t)place;
        weight[pixel] = (float)(place - floor(place));
        if (weight[pixel] > BELOW_ONE) weight[pixel] = BELOW_ONE;
    }
    return 0;
}
