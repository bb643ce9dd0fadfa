/* Residual blocks of two 3 x 3 convolutions over many small maps, one map after the other, so that what is between the
 * two stays in the cache: `lexiseg_model.kernel.residual`. */
#include "kernel.h"

enum { GROUP = 24 }; /* tiles whose places are held at once, a multiple of all TILES */

typedef void Convolve(const float *, int64_t, int64_t, int64_t, const float *, const float *, const float *, float *,
                      int64_t, float *);

#if MANY_PROCESSORS
#pragma GCC optimize("fp-contract=fast")

#define LANES 8
#define CHANNELS 32
#define TILES 6
#define WIDTH 2
#define NAMED(name) name##_of_eight_32
#define ENTRY EIGHT_WIDE
#include "residual_steps.h"

#define LANES 8
#define CHANNELS 48
#define TILES 6
#define WIDTH 2
#define NAMED(name) name##_of_eight_48
#define ENTRY EIGHT_WIDE
#include "residual_steps.h"

#define LANES 16
#define CHANNELS 32
#define TILES 12
#define WIDTH 2
#define NAMED(name) name##_of_sixteen_32
#define ENTRY SIXTEEN_WIDE
#include "residual_steps.h"

#define LANES 16
#define CHANNELS 48
#define TILES 8
#define WIDTH 3
#define NAMED(name) name##_of_sixteen_48
#define ENTRY SIXTEEN_WIDE
#include "residual_steps.h"

static Convolve *convolve(int64_t channels) {
    if (channels != 32 && channels != 48) return NULL;
    switch (lanes()) {
    case 16: return channels == 32 ? convolve_of_sixteen_32 : convolve_of_sixteen_48;
    case 8: return channels == 32 ? convolve_of_eight_32 : convolve_of_eight_48;
    default: return NULL;
    }
}
#else
static Convolve *convolve(int64_t channels) { return (void)channels, NULL; }
#endif

/* Whether blocks of so many channels are done here, and for this processor. */
API int64_t lexiseg_residual_fits(int64_t channels) { return convolve(channels) != NULL; }

/* relu(second(relu(first(maps))) + maps) of maps [n, h, w, channels]; filters [36, in, out] and bias [channels] of each
 * convolution, filters as `lexiseg_model.kernel.residual.transformed` makes them. */
API int64_t lexiseg_residual(const float *maps, int64_t n, int64_t h, int64_t w, int64_t channels, const float *first,
                             const float *first_bias, const float *second, const float *second_bias, float *to) {
    Convolve *relu_of = convolve(channels);
    int64_t across = (w + 3) / 4 * 4 + 2, down = (h + 3) / 4 * 4 + 2, row = across * channels, plane = down * row;
    float *padded = calloc((size_t)(2 * plane + 2 * 36 * GROUP * channels), sizeof(float));
    if (!padded) return OUT_OF_MEMORY;
    float *between = padded + plane, *room = between + plane;
    for (int64_t map = 0; map < n; map++, maps += h * w * channels, to += h * w * channels) {
        for (int64_t y = 0; y < h; y++)
            memcpy(padded + (y + 1) * row + channels, maps + y * w * channels, (size_t)(w * channels) * sizeof(float));
        relu_of(padded, row, h, w, first, first_bias, NULL, between + row + channels, row, room);
        relu_of(between, row, h, w, second, second_bias, maps, to, w * channels, room);
    }
    free(padded);
    return 0;
}
