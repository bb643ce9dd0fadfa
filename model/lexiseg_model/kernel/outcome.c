/* From logits to an answer's labels and run lengths in one call: `lexiseg_model.tasks.outcome`.
 *
 * Every return to the interpreter between these steps would be a wait for its lock, and for a core that has forgotten
 * both; so what follows on each other without it is asked for together. */
#include "kernel.h"

/* Specks go (`lexiseg_tidy`, where `area` is above 0), pixels are won (`lexiseg_winners`), and where there is a text the
 * classes' run lengths are written (`lexiseg_encode_runs`): as many bytes of text as are needed for certain are returned,
 * and only if there is `room` for so many is anything written. Without `probability` nobody's votes are not all counted. */
API int64_t lexiseg_outcome(float *logits, int64_t k, int64_t h, int64_t w, int64_t n_classes, double area, double part,
                            double least, int64_t most, const int64_t *y_low, const float *y_weight, int64_t height,
                            const int64_t *x_low, const float *x_weight, int64_t width, void *labels, int64_t wide,
                            float *probability, double *votes, int64_t *summaries, char *text, int64_t room) {
    int64_t failed = area > 0 ? lexiseg_tidy(logits, k, h, w, n_classes, area, part, least, most) : 0;
    if (failed < 0) return failed;
    failed = lexiseg_winners_of_some(logits, k, h, w, y_low, y_weight, height, x_low, x_weight, width, labels, wide,
                                     probability, votes, n_classes);
    if (failed < 0 || !text) return failed;

    int64_t *first = malloc((size_t)(width + 1 + height) * sizeof(int64_t));
    int32_t *columns = malloc((size_t)(height * width) * sizeof(int32_t)); /* touched as far as there are changes */
    int64_t needed = OUT_OF_MEMORY;
    if (first && columns) {
        int64_t *ends = first + width + 1, n = lexiseg_count_runs(labels, height, width, wide, first, columns, ends);
        needed = MAX_CHARACTERS * (n + n_classes);
        if (needed <= room)
            failed = lexiseg_encode_runs(labels, height, width, wide, first, columns, ends, n, n_classes, summaries, text);
        if (failed < 0) needed = failed;
    }
    free(first);
    free(columns);
    return needed;
}

API int64_t lexiseg_kernel_version(void) { return LEXISEG_KERNEL_VERSION; }
