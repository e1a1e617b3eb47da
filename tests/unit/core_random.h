/*
 * Chance that a seed repeats, for the property tests of the core. A test sets
 * random_state, which must not be 0.
 */

#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

static uint64_t  random_state;


/* xorshift64* */
static inline uint64_t
random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;

    return random_state * UINT64_C(2685821657736338717);
}


/* from, and up to but for `to` */
static inline int64_t
between(int64_t from, int64_t to)
{
    return from + (int64_t) ((random_next() >> 11) % (uint64_t) (to - from));
}


static inline bool
chance(int percent)
{
    return between(0, 100) < percent;
}

#endif /* CORE_RANDOM_H */
