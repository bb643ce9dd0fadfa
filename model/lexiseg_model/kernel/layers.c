/* Layers of a convolutional network over one image, float32, in one call: `lexiseg_model.kernel.layers`. */
#include "kernel.h"

/* As `layers.py` writes them, numbers of 8 bytes. `from`, `to` and `add` (none: -1) say where in `maps`, `filters` and
 * `bias` where in `weights`; height and width are those of what is read. OF_IMAGE has the shades at `from` in weights. */
typedef struct {
    int64_t kind, from, to, add, height, width, in, out, kernel, stride, relu, filters, bias;
} Step;

enum { OF_IMAGE, DIRECT, BY_FOURS, BY_TWOS, TWICE, BESIDE_MEAN, HALVE, POOL, UNIT };

#if MANY_PROCESSORS
#pragma GCC optimize("fp-contract=fast")

#include <math.h>

#include "team.h"

enum { PHASES = 3 }; /* of a step at most, each with units that are taken by whoever is free */

typedef struct {
    const Step *steps;
    int64_t n_steps;
    const float *weights;
    const uint8_t *image;
    float *maps, *rooms, *patches; /* of each thread a room for what pixels see and what came of it, and a patch */
    int64_t room, patch;
    Team team;
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

typedef struct {
    Job *job;
    void (*work)(Job *, int64_t);
    int64_t thread;
    pthread_t handle;
} Helper;

static void *help(void *given) {
    Helper *helper = given;
    /* Held until it is known how many there are. */
    pthread_mutex_lock(&helper->job->team.lock);
    pthread_mutex_unlock(&helper->job->team.lock);
    helper->work(helper->job, helper->thread);
    return NULL;
}

/* As many threads as there can be, this one among them. */
static void work_together(Job *job, void (*work)(Job *, int64_t), Helper *helpers, int64_t threads) {
    Team *team = &job->team;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->met, NULL);
    pthread_mutex_lock(&team->lock);
    team->threads = 1;
    for (; team->threads < threads; team->threads++) {
        Helper *helper = helpers + team->threads;
        *helper = (Helper){job, work, team->threads, 0};
        if (pthread_create(&helper->handle, NULL, help, helper)) break;
    }
    pthread_mutex_unlock(&team->lock);
    work(job, 0);
    for (int64_t thread = 1; thread < team->threads; thread++) pthread_join(helpers[thread].handle, NULL);
    pthread_cond_destroy(&team->met);
    pthread_mutex_destroy(&team->lock);
}

/* Numbers that a room holds for the layer that takes most, and a patch. */
static void measure(Job *job, int64_t panel) {
    for (int64_t i = 0; i < job->n_steps; i++) {
        const Step *step = job->steps + i;
        if (!convolves(step)) continue;
        int64_t n = items_of(step) < group_of(step) ? items_of(step) : group_of(step);
        int64_t wide = (step->out + panel - 1) / panel * panel, room = n * places_of(step) * (depth_of(step) + wide);
        if (room > job->room) job->room = room;
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

/* Steps [n_steps] one after the other, by at most so many threads, with filters in panels of so many channels. */
API int64_t lexiseg_layers(const Step *steps, int64_t n_steps, int64_t panel, int64_t threads, const float *weights,
                           const uint8_t *image, float *maps) {
    Job job = {.steps = steps, .n_steps = n_steps, .weights = weights, .image = image, .maps = maps};
    measure(&job, panel);
    job.rooms = malloc((size_t)(threads * (job.room + job.patch)) * sizeof(float));
    job.team.begun = calloc((size_t)(PHASES * n_steps), sizeof(int64_t));
    Helper *helpers = malloc((size_t)threads * sizeof(Helper));
    int64_t done = job.rooms && job.team.begun && helpers ? 0 : OUT_OF_MEMORY;
    job.patches = job.rooms + threads * job.room;
    if (!done) work_together(&job, panel == 48 ? work_by_sixteen : work_by_eight, helpers, threads);
    free(job.rooms);
    free(job.team.begun);
    free(helpers);
    return done;
}
#else
API int64_t lexiseg_layers_panel(int64_t wanted) { return (void)wanted, 0; }

API int64_t lexiseg_layers(const Step *steps, int64_t n_steps, int64_t panel, int64_t threads, const float *weights,
                           const uint8_t *image, float *maps) {
    (void)steps, (void)n_steps, (void)panel, (void)threads, (void)weights, (void)image, (void)maps;
    return OUT_OF_MEMORY; /* never called: there is no panel */
}
#endif
