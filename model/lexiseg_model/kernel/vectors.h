/* Vectors of LANES numbers, for sources that are read once for each width: they set LANES, NAMED(name), which keeps the
 * readings apart, and ENTRY, the processor that one is for. Functions take no vectors, whose passing depends on it. */

typedef float NAMED(Floats) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t NAMED(Wholes) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#undef FLOATS
#undef WHOLES
#undef INLINE
#undef EACH
#undef LARGER
#define FLOATS NAMED(Floats)
#define WHOLES NAMED(Wholes)
#define INLINE static inline __attribute__((always_inline))
#define EACH(index, count) _Pragma("GCC unroll 40") for (int index = 0; index < (count); index++)
#define LARGER(a, b) ((FLOATS)(((WHOLES)(a) & ((a) > (b))) | ((WHOLES)(b) & ~((a) > (b)))))
