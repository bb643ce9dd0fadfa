/* From logits to an answer's labels and run lengths in one call: `lexiseg_model.tasks.pixels`.
 *
 * One call for all steps: each return to Python between them would wait for the GIL and lose the CPU's cache. */
#include "kernel.h"

/* Find the class of each pixel (`lexiseg_winners_of_some`) and, if `text` is not NULL, encode the run lengths of all
 * classes (`lexiseg_encode_runs`). Returns an upper bound of the bytes of text; no text is written if `room` is smaller.
 * Without `probability`, the votes of the background are incomplete. */
API int64_t lexiseg_outcome(const float *logits, int64_t k, int64_t h, int64_t w, int64_t n_classes,
                            const int64_t *y_low, const float *y_weight, int64_t height, const int64_t *x_low,
                            const float *x_weight, int64_t width, void *labels, int64_t wide, float *probability,
                            double *votes, int64_t *summaries, char *text, int64_t room) {
    int64_t failed = lexiseg_winners_of_some(logits, k, h, w, y_low, y_weight, height, x_low, x_weight, width, labels,
                                             wide, probability, votes, n_classes);
    if (failed < 0 || !text) return failed;

    int64_t *first = malloc((size_t)(width + 1 + height) * sizeof(int64_t));
    int32_t *columns = malloc((size_t)(height * width) * sizeof(int32_t)); /* the system maps only the part that is written */
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
