/* Layers of a convolutional network, float32, in one call: `lexiseg_model.kernel.layers`. */
#include "kernel.h"

/* As `layers.py` writes them, numbers of 8 bytes. `from`, `to` and `add` (none: -1) say where in `maps`, `filters` and
 * `bias` where in `weights`; height and width are those of what is read. OF_IMAGE has the shades at `from` in weights; a UNIT
 * vector has `kernel` numbers. */
typedef struct {
    int64_t kind, from, to, add, height, width, in, out, kernel, stride, relu, filters, bias;
} Step;

/* Of which maps the numbers are wanted, and where they go, image behind image. */
typedef struct {
    int64_t place, length;
    void *to;
} Wanted;

enum { OF_IMAGE, DIRECT, BY_FOURS, BY_TWOS, TWICE, BESIDE_MEAN, HALVE, POOL, UNIT, GIVEN };

#if MANY_PROCESSORS
#pragma GCC optimize("fp-contract=fast")

#include <immintrin.h>
#include <math.h>

#include "team.h"

enum { PHASES = 3 }; /* of a step at most, each with units that are taken by whoever is free */

/* One image, and who works on it. */
typedef struct {
    const Step *steps;
    const Wanted *wanted;
    int64_t n_steps, n_wanted, half, image, first_phase;
    const float *weights;
    const uint8_t *pixels;
    const uint16_t *given; /* of all images */
    float *maps, *rooms, *patches; /* of each thread a room for what pixels see and what came of it, and a patch */
    int64_t room, patch;
    Team *team;
} Job;

static inline int64_t side_of(const Step *step) { return step->kind == BY_FOURS ? 4 : step->kind == BY_TWOS ? 2 : 0; }
static inline int convolves(const Step *step) { return step->kind <= BY_TWOS; }
static inline int64_t made_width(const Step *step) { return (step->width + step->stride - 1) / step->stride; }
static inline float least(const Step *step) { return step->relu ? 0 : -INFINITY; }

static inline int64_t places_of(const Step *step) {
    int64_t side = side_of(step);
    return side ? (side + 2) * (side + 2) : 1;
}

static inline int64_t depth_of(const Step *step) {
    return side_of(step) ? step->in : step->kernel * step->kernel * step->in;
}

/* Tiles, or pixels that are made. */
static inline int64_t items_of(const Step *step) {
    int64_t side = side_of(step) ? side_of(step) : step->stride;
    return (step->height + side - 1) / side * ((step->width + side - 1) / side);
}

/* How many of them are done at once: what they take stays in a core's second cache, and the more filters there are to
 * read for it, the more of them. */
static inline int64_t group_of(const Step *step) {
    if (!side_of(step)) return 128;
    return step->in < 24 * 6 ? 24 : step->in / 6;
}

static inline int64_t share(int64_t n, int64_t threads) { return n / (4 * threads) + 1; }

#define LANES 8
#define ROWS 4
#define WIDTH 3
#define NAMED(name) name##_by_eight
#define ENTRY EIGHT_WIDE
#include "layers.h"

#define LANES 16
#define ROWS 8
#define WIDTH 3
#define NAMED(name) name##_by_sixteen
#define ENTRY SIXTEEN_WIDE
#include "layers.h"

/* All images of a call, and a copy of what is to be done: a helper that comes too late still reads it. */
typedef struct {
    Job job; /* of the first */
    void (*work)(Job *, int64_t);
    int64_t n_images, image_bytes, phases, together, maps; /* phases of an image, numbers in its maps */
    int64_t holders;                                       /* threads that have not left */
    Team team;
} Batch;

typedef struct {
    Batch *batch;
    int64_t thread;
} Helper;

/* What a thread does: its part of every image, or images of its own, which wait for nobody. */
static void take_part(Batch *batch, int64_t thread) {
    Job job = batch->job;
    Team *team = job.team = &batch->team;
    if (batch->together) {
        for (; job.image < batch->n_images; job.image++, job.pixels += batch->image_bytes) {
            batch->work(&job, thread);
            job.first_phase += batch->phases;
        }
        return;
    }
    Team alone = {.threads = 1, .phases = team->phases + 1 + thread * batch->phases};
    job.team = &alone;
    job.maps += thread * batch->maps, job.rooms += thread * job.room, job.patches += thread * job.patch;
    while (next_of(team, 0, 1, batch->n_images, &job.image)) {
        memset(alone.phases, 0, (size_t)batch->phases * sizeof(Phase));
        job.pixels = batch->job.pixels + job.image * batch->image_bytes;
        batch->work(&job, 0);
        done_with(team, 0, 1, batch->n_images);
    }
    wait_for(team, 0, batch->n_images);
}

/* The last one puts out the light. */
static void leave(Batch *batch) {
    if (__atomic_sub_fetch(&batch->holders, 1, __ATOMIC_ACQ_REL)) return;
    pthread_cond_destroy(&batch->team.met);
    pthread_mutex_destroy(&batch->team.lock);
    free(batch);
}

static void *help(void *given) {
    Helper *helper = given;
    take_part(helper->batch, helper->thread);
    leave(helper->batch);
    return NULL;
}

/* By at most as many threads as there can be, this one among them. Over when all is done, wherever the others are. */
static void work_together(Batch *batch, Helper *helpers) {
    pthread_attr_t nobody_waits;
    pthread_t handle;
    pthread_attr_init(&nobody_waits);
    pthread_attr_setdetachstate(&nobody_waits, PTHREAD_CREATE_DETACHED);
    for (int64_t thread = 1; thread < batch->team.threads; thread++) {
        helpers[thread] = (Helper){batch, thread};
        __atomic_add_fetch(&batch->holders, 1, __ATOMIC_RELAXED);
        if (pthread_create(&handle, &nobody_waits, help, helpers + thread)) {
            leave(batch);
            break;
        }
    }
    pthread_attr_destroy(&nobody_waits);
    take_part(batch, 0);
}

/* Numbers that a room holds for the layer that takes most, and a patch. */
static void measure(Job *job, int64_t panel) {
    for (int64_t i = 0; i < job->n_steps; i++) {
        const Step *step = job->steps + i;
        if (!convolves(step)) continue;
        int64_t n = items_of(step) < group_of(step) ? items_of(step) : group_of(step);
        int64_t wide = (step->out + panel - 1) / panel * panel, places = places_of(step);
        int64_t room = up(n * places * depth_of(step), LINE) + n * places * wide;
        if (room > job->room) job->room = up(room, LINE);
        if (side_of(step) && 36 * step->in > job->patch) job->patch = 36 * step->in;
    }
}

/* How many channels of what comes out stand beside each other in filters for vectors of so many lanes, or of the widest
 * that the processor has (0). Returns 0 where there are none of them. */
API int64_t lexiseg_layers_panel(int64_t wanted) {
    if (wanted > lanes()) return 0;
    switch (wanted ? wanted : lanes()) {
    case 16: return 48;
    case 8: return 24;
    default: return 0;
    }
}

/* Steps [n_steps] one after the other for images [n_images, image_bytes], and maps of numbers of two bytes that are given
 * with each (or none), by at most so many threads, with filters in panels of so many channels. The maps of an image take
 * `maps` numbers; what is wanted of them goes where it says, as numbers of two bytes (`half`) or of four. */
API int64_t lexiseg_layers(const Step *steps, int64_t n_steps, int64_t panel, int64_t threads, const float *weights,
                           const uint8_t *images, int64_t n_images, int64_t image_bytes, const uint16_t *given,
                           int64_t maps, const Wanted *wanted, int64_t n_wanted, int64_t half) {
    int64_t phases = PHASES * n_steps + n_wanted, together = n_images < threads;
    int64_t counted = (together ? n_images : threads) * phases + 1;
    size_t of_steps = (size_t)n_steps * sizeof(Step), of_wanted = (size_t)n_wanted * sizeof(Wanted);
    Batch *batch = calloc(1, sizeof(Batch) + (size_t)counted * sizeof(Phase) + of_steps + of_wanted +
                                 (size_t)threads * sizeof(Helper));
    if (!batch) return OUT_OF_MEMORY;
    Phase *counts = (Phase *)(batch + 1);
    Step *kept_steps = (Step *)(counts + counted);
    Wanted *kept_wanted = (Wanted *)(kept_steps + n_steps);
    Helper *helpers = (Helper *)(kept_wanted + n_wanted);
    memcpy(kept_steps, steps, of_steps);
    memcpy(kept_wanted, wanted, of_wanted);
    *batch = (Batch){.job = {.steps = kept_steps, .n_steps = n_steps, .wanted = kept_wanted, .n_wanted = n_wanted,
                             .half = half, .weights = weights, .pixels = images, .given = given},
                     .work = panel == 48 ? work_by_sixteen : work_by_eight, .n_images = n_images,
                     .image_bytes = image_bytes, .phases = phases, .together = together, .maps = maps, .holders = 1,
                     .team = {.threads = threads, .phases = counts}};
    pthread_mutex_init(&batch->team.lock, NULL);
    pthread_cond_init(&batch->team.met, NULL);
    Job *job = &batch->job;
    measure(job, panel);
    int64_t rooms = together ? 1 : threads;
    void *numbers = malloc((size_t)(rooms * maps + threads * (job->room + job->patch) + LINE) * sizeof(float));
    job->maps = aligned(numbers);
    job->rooms = job->maps + rooms * maps;
    job->patches = job->rooms + threads * job->room;
    if (numbers) work_together(batch, helpers);
    leave(batch);
    free(numbers);
    return numbers ? 0 : OUT_OF_MEMORY;
}
#else
API int64_t lexiseg_layers_panel(int64_t wanted) { return (void)wanted, 0; }

/* Never called: there is no panel. */
API int64_t lexiseg_layers(void) { return OUT_OF_MEMORY; }
#endif
