/* Masks of prompts about one image, from what each says about its cells: all of the prompt head of `tiny` that every
 * prompt goes through. One prompt after the other, so that what is between two steps stays in the cache; on coarse maps,
 * whose filters take more of it than they, a few at once. `lexiseg_model.kernel.prompts`. */
#include "kernel.h"

#if MANY_PROCESSORS
#pragma GCC optimize("fp-contract=fast")

#include <math.h>

enum { COARSE = 48, MID = 32, FINE = 24, PIXELS = 96 };  /* channels */
enum { PLACES = 4, PADDED = 16, HIDDEN = 96 };           /* of what attends: places, their columns, numbers between */
enum { ASKED = (PLACES + 1) * COARSE };                  /* numbers that it is asked with */
enum { MOST = 4, JUDGED = 64, KNOWN = MID + PIXELS + 3 }; /* masks; numbers that tell a mask's quality */
enum { TOGETHER = 4 };                                   /* prompts, on coarse maps */
enum { BESIDE_EACH_OTHER = 2 };                          /* cells, of coarse rows, whose number is even */
enum { NEAR = 64 };                                      /* cells that stay in the first cache */
enum { GROUP = 24, SLACK = 12 }; /* tiles whose places are held at once, a multiple of all TILES; of these the most */
enum { ASIDE = 16 };             /* numbers between two places, that these do not share a few lines of the first cache */

/* Maps amid borders of zeros: h x w pixels, the first of which is `row` + 1 pixels from the beginning. There is room for
 * whole tiles, and behind the last for what is read and thrown away. */
typedef struct {
    int64_t h, w, row, pixels;
} Bordered;

static Bordered bordered(int64_t h, int64_t w) {
    int64_t row = (w + 3) / 4 * 4 + 2;
    return (Bordered){h, w, row, ((h + 3) / 4 * 4 + 2) * row};
}

/* Where the cells that a prompt is answered in begin in the maps that all share. */
typedef struct {
    int64_t y, x;
} Corner;

/* What all prompts of a call share: maps pixel by pixel, `fine` channel by channel, of an image of
 * height x width cells; and maps of the cells that each is answered in. */
typedef struct {
    int64_t channels; /* of what a prompt says */
    int64_t height, width;
    Bordered coarse, mid;
    const float *first, *second, *body, *output; /* weights */
    const float *of_coarse, *of_mid, *fine, *pixels;
    float *coarse_maps, *coarse_between, *mid_maps, *mid_between, *inside, *room;
    int64_t masks; /* numbers of a prompt's in `inside` */
} Job;

/* Numbers that so many places of 8 bytes take. */
static int64_t places_of(int64_t n) { return up(2 * n, LINE); }

#define NAMED(name) name##_of_eight
#define LANES 8
#define ENTRY EIGHT_WIDE
#include "prompts_answer.h"

#define NAMED(name) name##_of_sixteen
#define LANES 16
#define ENTRY SIXTEEN_WIDE
#include "prompts_answer.h"

/* Whether prompts are answered here, on this processor. */
API int64_t lexiseg_prompts_fit(void) { return lanes() > 0; }

/* Numbers in the room of the step that needs most of it. */
static int64_t most_room(const Job *job) {
    int64_t w = job->mid.w, cells = w * job->mid.h, coarse = job->coarse.pixels;
    int64_t sizes[] = {
        2 * 36 * (GROUP * COARSE + ASIDE),                                          /* convolutions */
        places_of(9 * job->channels) + job->channels * coarse + SLACK + (w + SLACK) * COARSE, /* begin */
        coarse * PADDED + ASKED + HIDDEN + COARSE,                                  /* attend */
        places_of(job->channels) + (cells + coarse + SLACK + w) * MID,                     /* widen */
        (2 * cells + 2 * w + 4 * SLACK) * MID,                                      /* masks */
    };
    int64_t most = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) most = sizes[i] > most ? sizes[i] : most;
    return most;
}

/* Logits [n, masks, 2 h, 2 w] of n prompts, of 1 or 4 masks each, and logits of their quality [n, masks].
 *
 * said [n, channels, h, w]: what a prompt says of each of its cells; corners [n, 2]: row and column of the first of them,
 * even; filters for what is said and all other weights, of `body` and `output`, as `lexiseg_model.kernel.prompts` lays
 * them out; of_coarse [height / 2, width / 2, COARSE], of_mid [height, width, MID], fine [FINE, 2 height, 2 width] and
 * pixels [height, width, PIXELS]: what all prompts of the image share. h and w are multiples of 4. */
API int64_t lexiseg_prompts(const float *said, int64_t n, int64_t channels, int64_t masks, const int64_t *corners,
                            int64_t h, int64_t w, int64_t height, int64_t width, const float *filters, const float *body,
                            const float *output, const float *of_coarse, const float *of_mid, const float *fine,
                            const float *pixels, float *logits, float *quality) {
    Job job = {.channels = channels, .height = height, .width = width, .coarse = bordered(h / 2, w / 2), .mid = bordered(h, w),
               .first = filters, .second = filters + 9 * channels * COARSE, .body = body, .output = output,
               .of_coarse = of_coarse, .of_mid = of_mid, .fine = fine, .pixels = pixels};
    int64_t some = n < TOGETHER ? n : TOGETHER, cells = h * w;
    int64_t coarse = (some * job.coarse.pixels + SLACK) * COARSE, mid = (job.mid.pixels + SLACK) * MID;
    job.masks = MOST * (cells + SLACK);
    void *zeros = calloc((size_t)(2 * coarse + 2 * mid + some * job.masks + most_room(&job)) + LINE, sizeof(float));
    if (!zeros) return OUT_OF_MEMORY;
    float *all = aligned(zeros);
    job.coarse_maps = all, job.coarse_between = all + coarse;
    job.mid_maps = all + 2 * coarse, job.mid_between = job.mid_maps + mid, job.inside = job.mid_between + mid;
    job.room = job.inside + some * job.masks;
    for (int64_t first = 0; first < n; first += some) {
        if (some > n - first) some = n - first;
        (lanes() == 16 ? answer_of_sixteen : answer_of_eight)(&job, said + first * channels * cells,
                                                              (const Corner *)corners + first, some, masks,
                                                              logits + first * masks * 4 * cells, quality + first * masks);
    }
    free(zeros);
    return 0;
}
#else
API int64_t lexiseg_prompts_fit(void) { return 0; }

/* Never called: they do not fit. */
API int64_t lexiseg_prompts(void) { return OUT_OF_MEMORY; }
#endif
