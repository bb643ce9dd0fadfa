/* Resize pictures bit by bit as OpenCV does, which is its twin; the page has none. By area in a third of its time. */
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

typedef struct {
    int64_t height, width, rows, columns, channels, kept;
} Sizes;

/* An axis by area, eight outputs at a time: what they read begins at `base` of their vector. Padded to whole vectors. */
typedef struct {
    int64_t most, padded, *base; /* inputs of an output; outputs; [padded / LANES] */
    int32_t *places;             /* [padded], of an output's first input, counted from its base */
    float *weights;              /* [most, padded], 0 beyond an output's inputs */
    int near;                    /* whether all places are below 2 * LANES, so that one shuffle reads them */
} Shrunk;

static int64_t whole_vectors(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

static int arrange(Shrunk *shrunk, const Taps *taps, int64_t to) {
    int64_t padded = whole_vectors(to), most = taps->most;
    *shrunk = (Shrunk){.most = most, .padded = padded, .near = 1};
    shrunk->base = malloc((size_t)(padded / LANES) * sizeof(int64_t));
    shrunk->places = calloc((size_t)padded, sizeof(int32_t));
    shrunk->weights = calloc((size_t)(most * padded), sizeof(float));
    if (!shrunk->base || !shrunk->places || !shrunk->weights) return 0;
    for (int64_t x = 0; x < to; x++) {
        if (x % LANES == 0) shrunk->base[x / LANES] = taps->first[x];
        shrunk->places[x] = (int32_t)(taps->first[x] - shrunk->base[x / LANES]);
        shrunk->near &= shrunk->places[x] < 2 * LANES;
        for (int64_t tap = 0; tap < taps->count[x]; tap++)
            shrunk->weights[tap * padded + x] = (float)taps->weights[x * most + tap];
    }
    return 1;
}

/* The first `kept` of `channels` bytes of each pixel as planes [kept, pitch]. */
INLINE void split(const uint8_t *restrict row, int64_t n, const int64_t channels, const int64_t kept, int64_t pitch,
                  float *restrict planes) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < kept; c++) planes[c * pitch + i] = row[i * channels + c];
}

/* Planes [kept, pitch] of a row, shrunk across to lines [kept, padded]. */
INLINE void shrink_across(const int near, const Shrunk *shrunk, const float *planes, int64_t pitch, int64_t kept,
                          float *lines) {
    for (int64_t c = 0; c < kept; c++, planes += pitch, lines += shrunk->padded)
        for (int64_t x = 0; x < shrunk->padded; x += LANES) {
            const float *from = planes + shrunk->base[x / LANES];
            Places places = *(const Places *)(shrunk->places + x);
            Eight sum = {0}, value = {0};
            for (int64_t tap = 0; tap < shrunk->most; tap++) {
                if (near) value = SHUFFLE_TWO(*(const Eight *)(from + tap), *(const Eight *)(from + tap + LANES), places);
                else
                    for (int lane = 0; lane < LANES; lane++) value[lane] = from[tap + places[lane]];
                sum += *(const Eight *)(shrunk->weights + tap * shrunk->padded + x) * value;
            }
            *(Eight *)(lines + x) = sum;
        }
}

WIDEST static void shrink_row(const uint8_t *row, Sizes size, const Shrunk *shrunk, int64_t pitch, float *planes,
                              float *lines) {
    if (size.channels == 3 && size.kept == 3) split(row, size.width, 3, 3, pitch, planes);
    else split(row, size.width, size.channels, size.kept, pitch, planes);
    if (shrunk->near && SHUFFLES) shrink_across(1, shrunk, planes, pitch, size.kept, lines);
    else shrink_across(0, shrunk, planes, pitch, size.kept, lines);
}

WIDEST static void add_weighted(const float *restrict line, float weight, int64_t n, float *restrict sums) {
    for (int64_t i = 0; i < n; i++) sums[i] += weight * line[i];
}

/* The nearest bytes of sums, halves to even. */
WIDEST static void nearest_bytes(const float *restrict sums, int64_t n, uint8_t *restrict bytes) {
    for (int64_t i = 0; i < n; i++) {
        float value = rintf(sums[i]);
        bytes[i] = (uint8_t)(int32_t)(value < 255 ? value : 255);
    }
}

/* By area, to bytes or (`floats`) float32, of pixels [rows, columns, kept] or (`planes`) [kept, rows, columns]. */
static int64_t shrink(const uint8_t *source, Sizes size, const Taps *of_rows, const Taps *of_columns, int floats, int planes,
                      void *target) {
    Shrunk shrunk;
    int64_t failed = arrange(&shrunk, of_columns, size.columns) ? 0 : OUT_OF_MEMORY;
    int64_t pitch = size.width + shrunk.most + 2 * LANES, n = size.kept * shrunk.padded, lines_of[2] = {-1, -1};
    int64_t next_pixel = planes ? 1 : size.kept, next_plane = planes ? size.rows * size.columns : 1;
    float *row_planes = calloc((size_t)(size.kept * pitch + 3 * n), sizeof(float)); /* no NaN beyond a row */
    float *lines = row_planes ? row_planes + size.kept * pitch : NULL, *sums = row_planes ? lines + 2 * n : NULL;
    uint8_t *bytes = malloc((size_t)n);
    /* OpenCV rounds halves up there */
    float half = size.height == 2 * size.rows && size.width == 2 * size.columns && !floats ? 0.125f : 0;
    if (!row_planes || !bytes) failed = OUT_OF_MEMORY;
    for (int64_t y = 0; !failed && y < size.rows; y++) {
        for (int64_t i = 0; i < n; i++) sums[i] = half;
        for (int64_t tap = 0; tap < of_rows->count[y]; tap++) {
            int64_t row = of_rows->first[y] + tap;
            float *line = lines + (row & 1) * n; /* the row before may be used again */
            if (lines_of[row & 1] != row)
                shrink_row(source + row * size.width * size.channels, size, &shrunk, pitch, row_planes, line);
            lines_of[row & 1] = row;
            add_weighted(line, (float)of_rows->weights[y * of_rows->most + tap], n, sums);
        }
        if (!floats) nearest_bytes(sums, n, bytes);
        for (int64_t c = 0; c < size.kept; c++) {
            int64_t place = c * next_plane + y * size.columns * next_pixel, own = c * shrunk.padded;
            for (int64_t x = 0; x < size.columns; x++, place += next_pixel)
                if (floats) ((float *)target)[place] = sums[own + x];
                else ((uint8_t *)target)[place] = bytes[own + x];
        }
    }
    free(row_planes), free(bytes), free(shrunk.base), free(shrunk.places), free(shrunk.weights);
    return failed;
}

/* Add a line to the sums of an output row. */
static void add(const float *line, double weight, int fixed, int64_t n, float *sums) {
    if (fixed)
        for (int64_t i = 0; i < n; i++) sums[i] += (float)((int32_t)weight * ((int32_t)line[i] >> 4) >> 16);
    else
        for (int64_t i = 0; i < n; i++) sums[i] += (float)(weight * line[i]);
}

/* The bytes of sums of fixed-point weights. */
static void round_to_bytes(const float *sums, int64_t n, uint8_t *row) {
    for (int64_t i = 0; i < n; i++) {
        int32_t value = ((int32_t)sums[i] + 2) >> 2;
        row[i] = (uint8_t)(value < 0 ? 0 : value < 255 ? value : 255);
    }
}

/* As `shrink`, with linear interpolation, of pixels [rows, columns, kept]. */
static int64_t interpolate(const uint8_t *source, Sizes size, const Taps *of_rows, const Taps *of_columns, const Axis *side,
                           int floats, void *target) {
    int64_t n = size.columns * size.kept, lines_of[2] = {-1, -1};
    float *lines = malloc((size_t)(3 * n) * sizeof(float)), *sums = lines ? lines + 2 * n : NULL;
    for (int64_t y = 0; lines && y < size.rows; y++) {
        for (int64_t i = 0; i < n; i++) sums[i] = 0;
        for (int64_t tap = 0; tap < of_rows->count[y]; tap++) {
            int64_t row = within(of_rows->first[y] + tap, size.height);
            float *line = lines + (row & 1) * n; /* the row before may be used again */
            if (lines_of[row & 1] != row)
                across(source + row * size.width * size.channels, side, of_columns, size.channels, size.kept, line);
            lines_of[row & 1] = row;
            add(line, of_rows->weights[y * of_rows->most + tap], !floats, n, sums);
        }
        if (floats) memcpy((float *)target + y * n, sums, (size_t)n * sizeof(float));
        else round_to_bytes(sums, n, (uint8_t *)target + y * n);
    }
    free(lines);
    return lines ? 0 : OUT_OF_MEMORY;
}

/* Resize a picture [height, width, channels] of bytes to the first `kept` channels of [rows, columns], of bytes or
 * (`floats`) float32: by area if it becomes smaller, else, or if `linear`, linearly. `planes`, by area alone: [kept, rows,
 * columns] instead of [rows, columns, kept]. */
API int64_t lexiseg_resize(const uint8_t *source, int64_t height, int64_t width, int64_t rows, int64_t columns,
                           int64_t channels, int64_t kept, int64_t linear, int64_t floats, int64_t planes, void *target) {
    int smaller = !linear && rows * columns < height * width, area = smaller && rows <= height && columns <= width;
    int fixed = !area && !floats;
    Sizes size = {height, width, rows, columns, channels, kept};
    Axis down = {height, rows, area, smaller, fixed}, side = {width, columns, area, smaller, fixed};
    Taps of_rows = {0}, of_columns = {0};
    int64_t failed = allocate(&of_rows, &down) & allocate(&of_columns, &side) ? 0 : OUT_OF_MEMORY;
    if (!failed) {
        fill(&of_rows, &down), fill(&of_columns, &side);
        failed = area ? shrink(source, size, &of_rows, &of_columns, floats, planes, target)
                      : interpolate(source, size, &of_rows, &of_columns, &side, floats, target);
    }
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
