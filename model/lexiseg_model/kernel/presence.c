/* From what is kept of a picture to the scores of its cells in one call: how far it shows each text as a whole, and how
 * far each of its cells: `lexiseg_model.kernel.cell_scores`. */
#include <math.h>

#include "kernel.h"

/* log(mean(exp(likeness))) of n cells, which are used up. */
WIDEST static float mean_of_powers(float *likeness, int64_t n) {
    float most = likeness[0], sum = 0;
    for (int64_t i = 1; i < n; i++) most = likeness[i] > most ? likeness[i] : most;
    for (int64_t i = 0; i < n; i++) {
        float below = likeness[i] - most;
        likeness[i] = power_of_e(below < -87.0f ? -87.0f : below);
    }
    for (int64_t i = 0; i < n; i++) sum += likeness[i];
    return logf(sum) + most - (float)log((double)n);
}

/* log(sigmoid(presence)). */
static float log_probability(float presence) {
    return (presence < 0 ? presence : 0) - log1pf(expf(-fabsf(presence)));
}

/* Scores [rows, n] of n cells, as `lexiseg_cell_scores`, to which each text adds its level and, of the presence that is
 * its own, weight * log(sigmoid(presence)), `least` before it is weighed; and presence [texts] itself: scale * (its
 * likeness to the image) + log(mean(exp(its likeness to the coarse cells))) + bias.
 *
 * pixels and coarse in half precision, n and n_coarse of them, in either order; image [depth] likewise; directions and
 * vectors [texts, depth]: a text beside the picture, and beside pixels; levels [texts] or NULL. */
API int64_t lexiseg_scores_by_presence(const uint16_t *pixels, int64_t in_turn, int64_t n, const uint16_t *coarse,
                                       int64_t coarse_in_turn, int64_t n_coarse, const uint16_t *image, int64_t depth,
                                       const float *directions, const float *vectors, const float *levels,
                                       const int64_t *owner, int64_t texts, double scale, double bias, double weight,
                                       double least, float *presence, float *scores) {
    int64_t *each = calloc((size_t)texts, sizeof(int64_t) + (size_t)(n_coarse + 2) * sizeof(float));
    if (!each) return OUT_OF_MEMORY;
    float *whole = (float *)(each + texts), *added = whole + texts, *likeness = added + texts;
    for (int64_t t = 0; t < texts; t++) each[t] = t; /* a row each, nothing added */
    int64_t failed = lexiseg_cell_scores(image, 1, 1, depth, directions, added, each, texts, whole);
    if (!failed)
        failed = lexiseg_cell_scores(coarse, coarse_in_turn, n_coarse, depth, directions, added, each, texts, likeness);
    for (int64_t t = 0; t < texts && !failed; t++) {
        float seen = mean_of_powers(likeness + t * n_coarse, n_coarse);
        presence[t] = whole[t] * (float)scale + seen + (float)bias;
        float sure = log_probability(presence[t]);
        added[t] = (sure < (float)least ? (float)least : sure) * (float)weight + (levels ? levels[t] : 0);
    }
    if (!failed) failed = lexiseg_cell_scores(pixels, in_turn, n, depth, vectors, added, owner, texts, scores);
    free(each);
    return failed;
}
