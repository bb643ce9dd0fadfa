/* exp, for sources that are read once for each width of vectors, after vectors.h. */
#include "power.h"

/* exp(x) in place for x <= 0, to 2 units in the last place. */
INLINE void NAMED(exponential)(FLOATS *number) {
    FLOATS x = *number, least = (FLOATS){0} - 87.0f;
    x = LARGER(x, least);
    FLOATS n, p;
    SPLIT_POWER(x, n, p);
    *number = p * (FLOATS)((__builtin_convertvector(n, WHOLES) + 127) << 23);
}
