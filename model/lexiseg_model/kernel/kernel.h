/* What the parts of the kernel share. Plain C, without Python's headers: called through ctypes, which lets go of the
 * interpreter's lock meanwhile. All arrays are contiguous and belong to the caller. */
#ifndef LEXISEG_KERNEL_H
#define LEXISEG_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* To be raised with every change of a signature or of a meaning; `library.py` has the same number. */
#define LEXISEG_KERNEL_VERSION 27

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

/* A function is compiled for several processors, and the loader takes the one that fits. Products and sums are not fused
 * (setup.py), so that all round alike. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif
#define INLINE static inline __attribute__((always_inline)) /* into each processor's version */

/* What is wrong; otherwise 0. */
enum { OUT_OF_MEMORY = -1 };

/* exp(x) for -87 <= x <= 0, to 2 units in the last place, in loops that a compiler brings into vectors: 2^n times a
 * polynomial (Cephes' coefficients). */
INLINE float power_of_e(float x) {
    float n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* the nearest whole number */
    x = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = x * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    p = p * x * x + x + 1.0f;
    union {
        int32_t bits;
        float number;
    } two = {.bits = ((int32_t)n + 127) << 23};
    return p * two.number;
}

enum { MAX_CHARACTERS = 14 }; /* of a run: the zeros before it and its ones, seven each */

/* For other parts: of regions.c, winners.c and runs.c. */
API int64_t lexiseg_count_row_runs(const void *labels, int64_t height, int64_t width, int64_t wide);
API int64_t lexiseg_connect(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t n, int64_t *ends,
                            int32_t *region, int64_t *areas, int32_t *classes);
int64_t lexiseg_winners_of_some(const float *scores, int64_t k, int64_t h, int64_t w, const int64_t *y_low,
                                const float *y_weight, int64_t height, const int64_t *x_low, const float *x_weight,
                                int64_t width, void *labels, int64_t wide, float *probability, double *votes,
                                int64_t counted);
API int64_t lexiseg_count_runs(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t *first,
                               int32_t *columns, int64_t *ends);
API int64_t lexiseg_encode_runs(const void *labels, int64_t height, int64_t width, int64_t wide, int64_t *first,
                                const int32_t *columns, const int64_t *ends, int64_t n, int64_t k, int64_t *summaries,
                                char *text);

#endif
