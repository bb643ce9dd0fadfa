/* What only the page needs: strokes of its brush, masks as Label Studio's brush and as one loop, checksums. The formats are
 * those of `lexiseg_labels.formats`. */
#include "kernel.h"
#include <math.h>

static double between(double value, double least, double most) { return value < least ? least : value > most ? most : value; }

/* Set the pixels [width, height], column by column, that a round brush on its way along `points` [n, 2] (x, y) covers. */
API int64_t lexiseg_stroke(const double *points, int64_t n, double radius, int64_t height, int64_t width, uint8_t *pixels) {
    for (int64_t i = 0; i < n; i++) {
        const double *to = points + 2 * i, *from = i ? to - 2 : to;
        double across = to[0] - from[0], down = to[1] - from[1], square = across * across + down * down;
        double high = (double)height, wide = (double)width;
        int64_t left = (int64_t)floor(between(fmin(from[0], to[0]) - radius, 0, wide));
        int64_t right = (int64_t)ceil(between(fmax(from[0], to[0]) + radius, 0, wide));
        int64_t top = (int64_t)floor(between(fmin(from[1], to[1]) - radius, 0, high));
        int64_t bottom = (int64_t)ceil(between(fmax(from[1], to[1]) + radius, 0, high));
        for (int64_t x = left; x < right; x++)
            for (int64_t y = top; y < bottom; y++) {
                double u = (double)x + 0.5 - from[0], v = (double)y + 0.5 - from[1];
                double share = between((u * across + v * down) / (square > 0 ? square : 1), 0, 1);
                u -= share * across, v -= share * down;
                if (u * u + v * v <= radius * radius) pixels[x * height + y] = 1;
            }
    }
    return 0;
}

typedef struct {
    uint8_t *bytes;
    int64_t bits; /* written */
} Bits;

static void put(Bits *to, uint32_t value, int bits) {
    for (int bit = bits - 1; bit >= 0; bit--, to->bits++) {
        uint8_t *byte = to->bytes + to->bits / 8;
        if (to->bits % 8 == 0) *byte = 0;
        *byte |= (uint8_t)((value >> bit & 1) << (7 - to->bits % 8));
    }
}

/* Label Studio's run lengths of the RGBA bytes of a mask [n], 0 or 1 row by row; returns the bytes: at most 8 + 2 * n. */
API int64_t lexiseg_brush(const uint8_t *mask, int64_t n, uint8_t *bytes) {
    static const int widths[] = {3, 4, 8, 16}; /* bits of a run length */
    Bits to = {bytes, 0};
    put(&to, (uint32_t)(4 * n), 32);
    put(&to, 8 - 1, 5); /* bits of a word */
    for (int i = 0; i < 4; i++) put(&to, (uint32_t)widths[i] - 1, 4);
    for (int64_t begin = 0, end = 0; begin < n; begin = end) {
        while (end < n && mask[end] == mask[begin]) end++;
        for (int64_t left = 4 * (end - begin), run; left > 0; left -= run) {
            int index = 0;
            run = left < 1 << widths[3] ? left : 1 << widths[3];
            while (run > 1 << widths[index]) index++;
            put(&to, 1, 1);
            put(&to, (uint32_t)index, 2);
            put(&to, (uint32_t)(run - 1), widths[index]);
            put(&to, mask[begin] ? 255 : 0, 8);
        }
    }
    return (to.bits + 7) / 8;
}

/* All rings of a mask joined into one loop, by edges without area between the nearest corners: places in `corners` [n, 2]
 * of rings that end before `ends` [rings]. `loop` has room for n + 2 * rings; returns how many. */
API int64_t lexiseg_join(const int64_t *corners, const int64_t *ends, int64_t rings, int64_t *loop) {
    int64_t n = rings ? ends[0] : 0;
    for (int64_t i = 0; i < n; i++) loop[i] = i;
    for (int64_t ring = 1; ring < rings; ring++) {
        int64_t begin = ends[ring - 1], end = ends[ring], from = 0, to = begin, least = INT64_MAX, here = 0;
        for (int64_t i = 0; i < begin; i++)
            for (int64_t j = begin; j < end; j++) {
                int64_t x = corners[2 * i] - corners[2 * j], y = corners[2 * i + 1] - corners[2 * j + 1];
                if (x * x + y * y < least) least = x * x + y * y, from = i, to = j;
            }
        while (loop[here] != from) here++;
        int64_t more = end - begin + 2;
        memmove(loop + here + more, loop + here, (size_t)(n - here) * sizeof(int64_t));
        for (int64_t i = to; i < end; i++) loop[++here] = i;
        for (int64_t i = begin; i <= to; i++) loop[++here] = i;
        n += more;
    }
    return n;
}

/* The CRC-32 of bytes, as PNG and zip have it. */
API int64_t lexiseg_crc(const uint8_t *bytes, int64_t n) {
    uint32_t remainders[256], value = UINT32_MAX;
    for (uint32_t byte = 0; byte < 256; byte++) {
        remainders[byte] = byte;
        for (int bit = 0; bit < 8; bit++) remainders[byte] = remainders[byte] >> 1 ^ (remainders[byte] & 1 ? 0xedb88320u : 0);
    }
    for (int64_t i = 0; i < n; i++) value = remainders[(value ^ bytes[i]) & 255] ^ value >> 8;
    return (int64_t)(uint32_t)~value;
}
