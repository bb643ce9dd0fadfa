/* exp, for sources that are read once for each width of vectors, after vectors.h. */

/* exp(x) in place for x <= 0, to 2 units in the last place: 2^n times a polynomial (Cephes' coefficients). */
INLINE void NAMED(exponential)(FLOATS *number) {
    FLOATS x = *number, least = (FLOATS){0} - 87.0f;
    x = LARGER(x, least);
    FLOATS n = (x * 1.44269504088896341f + 12582912.0f) - 12582912.0f; /* the nearest whole number */
    x = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    FLOATS p = x * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * x + 8.3334519073e-3f;
    p = p * x + 4.1665795894e-2f;
    p = p * x + 1.6666665459e-1f;
    p = p * x + 5.0000001201e-1f;
    *number = (p * x * x + x + 1.0f) * (FLOATS)((__builtin_convertvector(n, WHOLES) + 127) << 23);
}
