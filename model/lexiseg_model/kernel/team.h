/* Threads that work through the layers of one call beside the one that called; none are left behind it. */
#ifndef LEXISEG_TEAM_H
#define LEXISEG_TEAM_H

#include <pthread.h>

#include "kernel.h"

enum { PATIENCE = 400 }; /* looks before a thread sleeps, some 20 microseconds: waking it would take as long */

typedef struct {
    int64_t threads;
    int64_t arrived, turn; /* at the meeting that comes next, and its number */
    int64_t *begun;        /* of each phase: how many of its units are somebody's */
    pthread_mutex_t lock;
    pthread_cond_t met;
} Team;

/* Goes on when all are here. */
static inline void meet(Team *team) {
    if (team->threads == 1) return;
    int64_t turn = __atomic_load_n(&team->turn, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->threads) {
        __atomic_store_n(&team->arrived, 0, __ATOMIC_RELAXED);
        pthread_mutex_lock(&team->lock);
        __atomic_store_n(&team->turn, turn + 1, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&team->met);
        pthread_mutex_unlock(&team->lock);
        return;
    }
    for (int look = 0; look < PATIENCE; look++) {
        if (__atomic_load_n(&team->turn, __ATOMIC_ACQUIRE) != turn) return;
        __builtin_ia32_pause();
    }
    pthread_mutex_lock(&team->lock);
    while (__atomic_load_n(&team->turn, __ATOMIC_ACQUIRE) == turn) pthread_cond_wait(&team->met, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

/* The first of the next `some` units of a phase; who comes earlier takes more. */
static inline int64_t next_of(Team *team, int64_t phase, int64_t some) {
    return __atomic_fetch_add(&team->begun[phase], some, __ATOMIC_RELAXED);
}

#endif
