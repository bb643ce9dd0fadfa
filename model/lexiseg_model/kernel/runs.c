/* COCO run lengths of a whole label map: `lexiseg_model.masks.rle` in two passes over the map, byte for byte.
 *
 * COCO's runs go down the columns, but the map is stored row by row. So each row is compared with the one above, eight bytes
 * at a time, and the changes are then sorted by column. */
#include "kernel.h"

#define FIRST_CHARACTER 48 /* '0' */

/* One row of `summaries`, an output of `lexiseg_encode_runs`: a class's area, box, and end of its text. */
typedef struct {
    int64_t area, left, top, width, height, text_end;
} Summary;

/* Append every x at which two rows differ to `column`; returns its new end. Without a branch for each pixel: every x is
 * written, and the end advances if the pixel differs. */
static inline int32_t *changes(const char *above, const char *here, int64_t width, int wide, int32_t *column) {
    const int64_t step = 8 >> wide;
    int64_t x = 0;
    for (; x + step <= width; x += step) {
        uint64_t a, b;
        memcpy(&a, above + (x << wide), 8);
        memcpy(&b, here + (x << wide), 8);
        if (a == b) continue;
        for (int64_t at = x; at < x + step; at++) {
            *column = (int32_t)at;
            column += label_at(above, at, wide) != label_at(here, at, wide);
        }
    }
    for (; x < width; x++)
        if (label_at(above, x, wide) != label_at(here, x, wide)) *column++ = (int32_t)x;
    return column;
}

/* Whether the run at the top of column x continues the one at the bottom of the column before. */
static inline int goes_on(const void *labels, int64_t height, int64_t width, int64_t x, int wide) {
    return x > 0 && label_at(labels, x, wide) == label_at(labels, (height - 1) * width + x - 1, wide);
}

/* Count the runs of a map [H, W] down its columns.
 *
 * Outputs: first [W + 1], index of the first run that begins in each column; columns, room for [H * W], row after row the x at
 * which a row differs from the row above; ends [H], where those of each row end. */
API int64_t lexiseg_count_runs(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t *first,
                               int32_t *columns, int64_t *ends) {
    const char *rows = labels;
    int64_t n_bytes = width << wide;
    int32_t *column = columns;
    ends[0] = 0;
    for (int64_t x = 0; x < width; x++) first[x + 1] = !goes_on(labels, height, width, x, (int)wide);
    for (int64_t y = 1; y < height; y++) {
        const char *here = rows + y * n_bytes, *above = here - n_bytes;
        column = wide ? changes(above, here, width, 1, column) : changes(above, here, width, 0, column);
        ends[y] = column - columns;
    }
    for (const int32_t *x = columns; x < column; x++) first[*x + 1]++;
    first[0] = 0;
    for (int64_t x = 0; x < width; x++) first[x + 1] += first[x];
    return first[width];
}

/* Sort the runs: `start` [N], x * H + y where each begins, ascending, and `value` [N], their labels. `first`, `columns` and
 * `ends` come from `lexiseg_count_runs`; `first` is overwritten. */
static void place_runs(const void *labels, int64_t height, int64_t width, int wide, int64_t *first,
                       const int32_t *columns, const int64_t *ends, int64_t *start, int32_t *value) {
    for (int64_t x = 0; x < width; x++) {
        if (goes_on(labels, height, width, x, wide)) continue;
        start[first[x]] = x * height;
        value[first[x]++] = (int32_t)label_at(labels, x, wide);
    }
    for (int64_t y = 1; y < height; y++)
        for (int64_t i = ends[y - 1]; i < ends[y]; i++) {
            int64_t x = columns[i], at = first[x]++;
            start[at] = x * height + y;
            value[at] = (int32_t)label_at(labels, y * width + x, wide);
        }
}

/* Write a count in base 32, least digit first; each character has five bits, and one that says whether more follow. At most
 * 7 characters; returns the end. */
static inline char *write_count(char *text, int64_t count) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (count >= -(1 << 19) && count < 1 << 19) { /* four digits at once: a branch for each digit takes longer */
        uint32_t bits = (uint32_t)count, size = (uint32_t)(count < 0 ? ~count : count);
        int n = (37 - __builtin_clz(size | 1)) / 5; /* digits that hold `size` and a sign */
        uint32_t digits = (bits & 0x1f) | (bits << 3 & 0x1f00) | (bits << 6 & 0x1f0000) | (bits << 9 & 0x1f000000);
        digits += 0x30303030 + (0x20202020 & ((UINT32_C(1) << 8 * (n - 1)) - 1));
        memcpy(text, &digits, 4);
        return text + n;
    }
#endif
    for (;;) {
        int64_t digit = count & 0x1f;
        count >>= 5;
        int more = digit & 0x10 ? count != -1 : count != 0;
        *text++ = (char)(digit + (more ? 0x20 : 0) + FIRST_CHARACTER);
        if (!more) return text;
    }
}

/* Write the counts of one class as text, with its area and box; returns the end of the text. Its n runs are those at the
 * indices `order` of `start` and `end`; with NULL, every second index. */
static char *encode_class(const int64_t *order, int64_t n, const int64_t *start, const int64_t *end, int64_t height,
                          int64_t pixels, char *text, Summary *summary) {
    int64_t area = 0, left = pixels, top = height, right = -1, bottom = -1;
    int64_t counts[2] = {0, 0}; /* the last count of zeros, and of ones */
    int64_t last = 0, column = -1, column_end = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t at = order ? order[i] : 2 * i, from = start[at], to = end[at];
        int64_t zeros = from - last, ones = to - from;
        text = write_count(text, i > 1 ? zeros - counts[0] : zeros);
        text = write_count(text, i > 0 ? ones - counts[1] : ones);
        counts[0] = zeros;
        counts[1] = ones;
        last = to;
        area += ones;
        if (from >= column_end) { /* a division for each column, not for each run */
            column = from / height;
            column_end = (column + 1) * height;
        }
        int64_t first_y = from - column * height;
        if (column < left) left = column;
        if (to <= column_end) {
            if (first_y < top) top = first_y;
            if (first_y + ones - 1 > bottom) bottom = first_y + ones - 1;
            if (column > right) right = column;
        } else { /* it continues into the next column, so it touches the bottom and the top */
            top = 0;
            bottom = height - 1;
            column = (to - 1) / height;
            column_end = (column + 1) * height;
            if (column > right) right = column;
        }
    }
    if (last < pixels) text = write_count(text, n > 1 ? pixels - last - counts[0] : pixels - last);
    if (!n) left = top = 0;
    *summary = (Summary){area, left, top, right < 0 ? 0 : right - left + 1, bottom < 0 ? 0 : bottom - top + 1, 0};
    return text;
}

/* Encode the run lengths of the classes 0 to K - 1 from n runs: `start` [N + 1] where they begin, and H * W; `value` [N] their
 * labels. room [N + K + 1]: working memory. */
static void encode_classes(const int64_t *start, const int32_t *value, int64_t n, int64_t k, int64_t height,
                           int64_t *room, int64_t *summaries, char *text) {
    int64_t *order = room, *of_class = order + n; /* order [N], of_class [K + 1] */
    memset(of_class, 0, (size_t)(k + 1) * sizeof(int64_t));
    for (int64_t i = 0; i < n; i++)
        if (value[i] < k) of_class[value[i] + 1]++;
    for (int64_t c = 0; c < k; c++) of_class[c + 1] += of_class[c];
    for (int64_t i = 0; i < n; i++)
        if (value[i] < k) order[of_class[value[i]]++] = i;
    char *at = text;
    for (int64_t c = 0; c < k; c++) { /* of_class[c] is now where class c ends */
        int64_t begin = c ? of_class[c - 1] : 0;
        Summary *summary = (Summary *)(summaries + 6 * c);
        at = encode_class(order + begin, of_class[c] - begin, start, start + 1, height, start[n], at, summary);
        summary->text_end = at - text;
    }
}

/* Encode the run lengths of the classes 0 to K - 1; labels from K on belong to nobody.
 *
 * `first`, `columns`, `ends` and the number of runs n come from `lexiseg_count_runs`. Outputs: summaries [K, 6], area, box, end
 * of its text; text, room for 14 * n + 7 * K characters. */
API int64_t lexiseg_encode_runs(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t *first,
                                const int32_t *columns, const int64_t *ends, int64_t n, int64_t k, int64_t *summaries,
                                char *text) {
    int64_t *start = malloc(((size_t)n * 2 + 1 + (size_t)k + 1) * sizeof(int64_t) + (size_t)n * sizeof(int32_t));
    if (!start) return OUT_OF_MEMORY;
    int64_t *room = start + n + 1;
    int32_t *value = (int32_t *)(room + n + k + 1);
    place_runs(labels, height, width, (int)wide, first, columns, ends, start, value);
    start[n] = height * width;
    encode_classes(start, value, n, k, height, room, summaries, text);
    free(start);
    return 0;
}

/* Encode the run lengths of one mask from its n runs, spans [n, 2]; summary [6] and text (room for 14 * n + 7 characters) as
 * in `lexiseg_encode_runs`. */
API int64_t lexiseg_encode_spans(const int64_t *spans, int64_t n, int64_t height, int64_t pixels, int64_t *summary,
                                 char *text) {
    char *end = encode_class(NULL, n, spans, spans + 1, height, pixels, text, (Summary *)summary);
    ((Summary *)summary)->text_end = end - text;
    return 0;
}
