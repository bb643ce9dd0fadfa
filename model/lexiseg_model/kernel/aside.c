/* Calls of the kernel on a thread beside the one that makes them: `lexiseg_model.kernel.library`.
 *
 * A thread that is nice must never want the interpreter's lock: whoever holds it without a core keeps everybody from
 * it. So the interpreter's threads stay as they are, and what takes long has a thread of its own that knows nothing of
 * the interpreter and may be nice. The calling thread, which has let go of the lock, sleeps meanwhile. */
#include "kernel.h"

/* Here a function takes its whole numbers and addresses in one list and its doubles in another, each in its order; the
 * caller clears away what it gave, also what nobody took. So one type of function calls them all. */
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <pthread.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_WHOLE = 24, MOST_REAL = 8 }; /* arguments of a call; of doubles, as many as there are registers for */
enum { IDLE, ASKED, ANSWERED, OVER };

#define W int64_t, int64_t, int64_t, int64_t
#define R double, double, double, double
typedef int64_t (*Function)(W, W, W, W, W, W, R, R);
#undef W
#undef R

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t asked, answered;
    int state, niceness;
    Function function;
    int64_t whole[MOST_WHOLE], returned;
    double real[MOST_REAL];
} Beside;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* of the thread beside each */

static int64_t made(const Beside *beside) {
    const int64_t *w = beside->whole;
    const double *r = beside->real;
    return beside->function(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13],
                            w[14], w[15], w[16], w[17], w[18], w[19], w[20], w[21], w[22], w[23], r[0], r[1], r[2],
                            r[3], r[4], r[5], r[6], r[7]);
}

static void *serve(void *given) {
    Beside *beside = given;
    /* Where it is forbidden, the thread stays as it is. */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), beside->niceness);
    pthread_mutex_lock(&beside->lock);
    for (;;) {
        while (beside->state != ASKED && beside->state != OVER) pthread_cond_wait(&beside->asked, &beside->lock);
        if (beside->state == OVER) break;
        pthread_mutex_unlock(&beside->lock);
        int64_t returned = made(beside);
        pthread_mutex_lock(&beside->lock);
        beside->returned = returned;
        beside->state = ANSWERED;
        pthread_cond_signal(&beside->answered);
    }
    pthread_mutex_unlock(&beside->lock);
    pthread_cond_destroy(&beside->answered);
    pthread_cond_destroy(&beside->asked);
    pthread_mutex_destroy(&beside->lock);
    free(beside);
    return NULL;
}

/* The thread that it was for has ended. */
static void leave(void *given) {
    Beside *beside = given;
    pthread_mutex_lock(&beside->lock);
    beside->state = OVER;
    pthread_cond_signal(&beside->asked);
    pthread_mutex_unlock(&beside->lock);
}

static void prepare(void) { pthread_key_create(&key, leave); }

/* Gives the calling thread one beside it, of this niceness, once. Whether it has one. */
API int64_t lexiseg_go_aside(int64_t niceness) {
    pthread_once(&once, prepare);
    if (pthread_getspecific(key)) return 1;
    Beside *beside = calloc(1, sizeof(Beside));
    if (!beside) return 0;
    beside->niceness = (int)niceness;
    pthread_mutex_init(&beside->lock, NULL);
    pthread_cond_init(&beside->asked, NULL);
    pthread_cond_init(&beside->answered, NULL);
    pthread_attr_t nobody_waits;
    pthread_t handle;
    pthread_attr_init(&nobody_waits);
    pthread_attr_setdetachstate(&nobody_waits, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&handle, &nobody_waits, serve, beside);
    pthread_attr_destroy(&nobody_waits);
    if (failed || pthread_setspecific(key, beside)) {
        if (failed) free(beside);
        else leave(beside);
        return 0;
    }
    return 1;
}

/* What `function` returns for n arguments, of which the bits in `real` are doubles and the others of eight bytes; it is
 * called beside the calling thread, which has `lexiseg_go_aside` behind it. */
API int64_t lexiseg_call_aside(Function function, int64_t n, int64_t real, ...) {
    Beside *beside = pthread_getspecific(key);
    int64_t reals_given = __builtin_popcountll((uint64_t)real);
    if (!beside || n - reals_given > MOST_WHOLE || reals_given > MOST_REAL) return NOBODY_BESIDE;
    va_list arguments;
    va_start(arguments, real);
    for (int64_t i = 0, whole = 0, reals = 0; i < n; i++) {
        if (real >> i & 1) beside->real[reals++] = va_arg(arguments, double);
        else beside->whole[whole++] = va_arg(arguments, int64_t);
    }
    va_end(arguments);
    beside->function = function;
    pthread_mutex_lock(&beside->lock);
    beside->state = ASKED;
    pthread_cond_signal(&beside->asked);
    while (beside->state != ANSWERED) pthread_cond_wait(&beside->answered, &beside->lock);
    beside->state = IDLE;
    int64_t returned = beside->returned;
    pthread_mutex_unlock(&beside->lock);
    return returned;
}
#else
API int64_t lexiseg_go_aside(int64_t niceness) { return (void)niceness, 0; }

/* Never called: nobody is beside. */
API int64_t lexiseg_call_aside(void) { return NOBODY_BESIDE; }
#endif
