/* From what prompts say to masks: read by `prompts.c` once for each width of vectors. */
#include "vectors.h"
#include "exponential.h"
#include "winograd.h"

#define CHANNELS 48
#define SQUARE(name) NAMED(name##_48)
#if LANES == 16
#define TILES 8
#define WIDTH 3
#else
#define TILES 6
#define WIDTH 2
#endif
#include "square_steps.h"

#define CHANNELS 32
#define SQUARE(name) NAMED(name##_32)
#if LANES == 16
#define TILES 12
#else
#define TILES 6
#endif
#define WIDTH 2
#include "square_steps.h"

/* `in` numbers times weights [in, out], and bias; cut at 0 (`relu`). `out` is a multiple of 48 or 64: so many sums at once,
 * which do not wait for each other. */
INLINE void NAMED(dense)(const float *from, int64_t in, const float *weights, const float *bias, const int64_t out, int relu,
                         float *to) {
    const int vectors = (out % 64 ? 48 : 64) / LANES;
    for (int64_t first = 0; first < out; first += vectors * LANES) {
        FLOATS sum[64 / LANES];
        EACH(v, vectors) sum[v] = ((const FLOATS *)(bias + first))[v];
        for (int64_t i = 0; i < in; i++)
            EACH(v, vectors) sum[v] += from[i] * ((const FLOATS *)(weights + i * out + first))[v];
        EACH(v, vectors)((FLOATS *)(to + first))[v] = relu ? LARGER(sum[v], (FLOATS){0}) : sum[v];
    }
}

#include "prompts_steps.h"
#include "prompts_masks.h"

/* Masks of the prompt that is the `place`-th of those together, whose own maps are there; how likely they are cells by
 * cell, and what of its own maps lies under them. */
ENTRY static void NAMED(masks_of)(const int masks, const Job *job, int64_t place, Corner corner, float *logits,
                                  float *known) {
    const Bordered *map = &job->mid;
    const int64_t cells = map->h * map->w;
    float *narrow = job->room, *room = narrow + cells * MID, *inside = job->inside + place * job->masks;
    const float *edges = NAMED(project)(map, job->output, job->mid_maps, narrow, room);
    NAMED(draw)(masks, job, corner, narrow, edges, logits, inside, room);
    NAMED(probabilities)(inside, masks * cells);
    for (int64_t c = 0; c < MID; c += 2 * LANES)
        NAMED(under)(masks, 2, map->h, map->w, inside, cells, job->mid_maps + (map->row + 1) * MID + c, map->row, MID,
                     known + c);
}

/* The quality of the masks of n prompts. */
ENTRY static void NAMED(judge_all)(const int masks, const Job *job, const Corner *corners, int64_t n, float *known,
                                   float *quality) {
    const float *weights = job->output + (MID + 1) * MID + FINE * MOST;
    NAMED(look_under)(masks, job, corners, n, known);
    for (int64_t i = 0; i < n; i++)
        NAMED(judge)(masks, weights, job->mid.h * job->mid.w, job->inside + i * job->masks, known + i * MOST * KNOWN,
                     quality + i * masks);
}

/* Of n prompts, at most TOGETHER. */
ENTRY static void NAMED(answer)(const Job *job, const float *said, const Corner *corners, int64_t n, int64_t masks,
                                float *logits, float *quality) {
    const int64_t cells = job->mid.h * job->mid.w, plane = job->coarse.pixels * COARSE, of_prompt = job->channels * cells;
    const float *weights = job->body, *next = weights;
    float known[TOGETHER * MOST * KNOWN] = {0};
    for (int64_t i = 0; i < n; i++)
        next = NAMED(begin)(job, said + i * of_prompt, corners[i], weights, job->coarse_maps + i * plane, job->room);
    for (int block = 0; block < 3; block++) {
        weights = next = NAMED(block_48)(&job->coarse, n, next, job->coarse_maps, job->coarse_between, job->room);
        for (int64_t i = 0; i < n && block < 2; i++)
            next = NAMED(attend)(job, weights, job->coarse_maps + i * plane, job->room);
    }
    weights = next;
    for (int64_t i = 0; i < n; i++, logits += masks * 4 * cells) {
        next = NAMED(widen)(job, said + i * of_prompt, corners[i], weights, job->coarse_maps + i * plane, job->mid_maps,
                            job->room);
        for (int block = 0; block < 2; block++)
            next = NAMED(block_32)(&job->mid, 1, next, job->mid_maps, job->mid_between, job->room);
        if (masks == 1)
            NAMED(masks_of)(1, job, i, corners[i], logits, known + i * MOST * KNOWN);
        else
            NAMED(masks_of)(MOST, job, i, corners[i], logits, known + i * MOST * KNOWN);
    }
    if (masks == 1)
        NAMED(judge_all)(1, job, corners, n, known, quality);
    else
        NAMED(judge_all)(MOST, job, corners, n, known, quality);
}
#undef LANES
#undef LANE
#undef NAMED
#undef ENTRY
