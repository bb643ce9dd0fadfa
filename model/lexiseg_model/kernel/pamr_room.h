/* Memory that PAMR works in: kept from one call to the next, for to have it cleared page by page again takes as long as a
 * map. */
#include "kernel.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if MANY_PROCESSORS
#include <immintrin.h>
#endif

static const size_t KEPT = 96 << 20;   /* bytes at most that are kept between calls */
static const size_t MAPPED = 32 << 20; /* bytes from which on new memory never is what was used before */

typedef struct {
    size_t bytes;
    char at[];
} Room;

/* That of the last call, while no other has it. */
static Room *kept;

static Room *room_of(size_t bytes) {
    Room *room = __atomic_exchange_n(&kept, NULL, __ATOMIC_ACQ_REL);
    if (room && room->bytes >= bytes) return room;
    free(room);
    room = malloc(sizeof(Room) + bytes);
    if (!room) return NULL;
    room->bytes = bytes;
#if defined(__linux__)
    if (bytes > MAPPED) { /* and is new: in large pages, or not */
        size_t into = (size_t)(-(uintptr_t)room & 4095);
        madvise((char *)room + into, (bytes - into) & ~(size_t)4095, MADV_HUGEPAGE);
    }
#endif
    return room;
}

static void leave(Room *room) {
#if MANY_PROCESSORS
    _mm_sfence(); /* another thread may write there next */
#endif
    if (room->bytes <= KEPT) room = __atomic_exchange_n(&kept, room, __ATOMIC_ACQ_REL);
    free(room);
}
