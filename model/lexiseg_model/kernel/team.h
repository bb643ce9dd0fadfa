/* Threads that work through the phases of one call beside the one that called. Each takes units of a phase as long as
 * there are some, and a phase is over when all of its units are done, by whoever it was: who has no core has none that
 * the others wait for. */
#ifndef LEXISEG_TEAM_H
#define LEXISEG_TEAM_H

#include <pthread.h>

#include "kernel.h"

enum { PATIENCE = 400 }; /* looks before a thread sleeps, some 20 microseconds: waking it would take as long */

typedef struct {
    int64_t begun, done; /* units that are somebody's, and those that are there */
} Phase;

typedef struct {
    int64_t threads; /* at most */
    int64_t asleep;
    Phase *phases;
    pthread_mutex_t lock;
    pthread_cond_t met;
} Team;

/* How many units of a phase are the caller's, from `first` on: `some` of `all`, or what is left. Who comes earlier takes
 * more. */
static inline int64_t next_of(Team *team, int64_t phase, int64_t some, int64_t all, int64_t *first) {
    *first = __atomic_fetch_add(&team->phases[phase].begun, some, __ATOMIC_RELAXED);
    int64_t left = all - *first;
    return left < 0 ? 0 : left < some ? left : some;
}

/* So many more of `all` units of a phase are there. */
static inline void done_with(Team *team, int64_t phase, int64_t some, int64_t all) {
    if (team->threads == 1) return;
    if (__atomic_add_fetch(&team->phases[phase].done, some, __ATOMIC_SEQ_CST) < all) return;
    if (!__atomic_load_n(&team->asleep, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&team->lock);
    pthread_cond_broadcast(&team->met);
    pthread_mutex_unlock(&team->lock);
}

/* Goes on when all units of a phase are there. */
static inline void wait_for(Team *team, int64_t phase, int64_t all) {
    const int64_t *done = &team->phases[phase].done;
    if (team->threads == 1) return;
    for (int look = 0; look < PATIENCE; look++) {
        if (__atomic_load_n(done, __ATOMIC_ACQUIRE) >= all) return;
        __builtin_ia32_pause();
    }
    pthread_mutex_lock(&team->lock);
    __atomic_add_fetch(&team->asleep, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(done, __ATOMIC_SEQ_CST) < all) pthread_cond_wait(&team->met, &team->lock);
    __atomic_sub_fetch(&team->asleep, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&team->lock);
}

#endif
