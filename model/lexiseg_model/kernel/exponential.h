/* exp, for sources that are read once for each width of vectors, after vectors.h. */
#include "power.h"

#undef MOST_POWERS
#define MOST_POWERS 8
/* exp(x) of so many in place, for -87 <= x <= 0, to 2 units in the last place. */
INLINE void NAMED(powers)(const int count, FLOATS *x) {
    FLOATS two[MOST_POWERS], n[MOST_POWERS], p[MOST_POWERS];
    SPLIT_POWERS(EACH(i, count), x[i], two[i], n[i], p[i]);
    /* Doubled n times by its exponent's bits: no power is so small that it would lose digits. */
    EACH(i, count) x[i] = (FLOATS)((WHOLES)p[i] + ((WHOLES)two[i] << 23));
}

/* The same of one x <= 0. */
INLINE void NAMED(exponential)(FLOATS *number) {
    FLOATS least = (FLOATS){0} - 87.0f;
    *number = LARGER(*number, least);
    NAMED(powers)(1, number);
}
