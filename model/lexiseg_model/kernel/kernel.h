/* Shared declarations of the kernel. Plain C without Python's headers: called through ctypes, which releases the GIL. All
 * arrays are contiguous and belong to the caller. */
#ifndef LEXISEG_KERNEL_H
#define LEXISEG_KERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Count up with every change of a signature or its meaning; `library.py` has the same number. */
#define LEXISEG_KERNEL_VERSION 36

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif

/* Compiles a function for several processors; the loader picks the version that fits. Products and sums are not fused
 * (model/setup.py), so that all versions round alike. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDEST
#endif
#define INLINE static inline __attribute__((always_inline)) /* also into each version of a WIDEST function */

/* Results below 0 are errors. */
enum { OUT_OF_MEMORY = -1, STOPPED = -2 };

/* Vectors of 32 bytes: GCC splits longer ones badly on AVX2. */
enum { LANES = 8 };
typedef float Eight __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t Places __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* By one instruction, of one or two vectors. */
#if defined(__clang__) /* has shuffles by constants alone */
#define SHUFFLE(from, at) (from)
#define SHUFFLE_TWO(from, next, at) (from)
enum { SHUFFLES = 0 };
#else
#define SHUFFLE __builtin_shuffle
#define SHUFFLE_TWO __builtin_shuffle
enum { SHUFFLES = 1 };
#endif

/* Lane by lane `one` where the mask is set, else `other`. */
#define CHOOSE(mask, one, other) (((Places)(one) & (mask)) | ((Places)(other) & ~(mask)))

/* exp(x) for x in -87..0, in place, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
INLINE void exp_below(Eight *number) {
    Eight x = *number;
    Places whole = __builtin_convertvector(x * 1.44269504088896341f - 0.5f, Places); /* to the nearest below 0 */
    Eight n = __builtin_convertvector(whole, Eight);
    Eight rest = x - n * 0.693359375f - n * -2.12194440e-4f;
    Eight square = rest * rest, first = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    Eight second = rest * 8.3334519073e-3f + 4.1665795894e-2f, third = rest * 1.6666665459e-1f + 5.0000001201e-1f;
    Eight y = (first * square + second) * square + third; /* in few steps that wait for each other */
    *number = (y * square + (rest + 1.0f)) * (Eight)((whole + 127) << 23);
}

/* Whether a head of lessons leaves a fold out: the first has seen all, the next `folds` all but one, the last two half of
 * them; everyday photographs, of no fold, are in each. */
static inline int leaves_out(int64_t part, int64_t fold, int64_t folds) {
    return part && (part <= folds ? fold == part - 1 : fold < folds && fold % 2 == part - folds - 1);
}

enum { MAX_CHARACTERS = 14 }; /* of a run: the zeros before it and its ones, seven each */

/* The label at an index of a map of 1-byte or (`wide`) 2-byte labels. */
static inline uint32_t label_at(const void *labels, int64_t place, int wide) {
    return wide ? ((const uint16_t *)labels)[place] : ((const uint8_t *)labels)[place];
}

/* Defined in regions.c, winners.c, runs.c and teach.c, and called from other files. */
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
int64_t lexiseg_teach(const float *cells, const int32_t *labels, const uint8_t *votes, const float *shares, float *text,
                      const int32_t *fold, int64_t n, int64_t f, int64_t k, int64_t folds, const int32_t *shown,
                      double *factors, double strength, double scale, double most, double gain,
                      float *directions, float *of_words, double *iou, int32_t *wants, const int32_t *stop);

#endif
