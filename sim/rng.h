/*
 * A small seeded generator (splitmix64), so that a fleet is the same every
 * time it is made from the same seed. Never a source of secrets.
 */

#ifndef COCO_SIM_RNG_H
#define COCO_SIM_RNG_H

#include <stdint.h>

typedef struct {
    uint64_t  state;
} sim_rng_t;


static inline uint64_t
sim_rng_next(sim_rng_t *rng)
{
    uint64_t  z;

    z = rng->state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;

    return z ^ (z >> 31);
}


/* Each (seed, stream) starts elsewhere; neighbours are unrelated. */
static inline void
sim_rng_seed(sim_rng_t *rng, uint64_t seed, uint64_t stream)
{
    sim_rng_t  mixed = { stream };

    rng->state = seed ^ sim_rng_next(&mixed);
}


/* At least low, below high. */
static inline double
sim_rng_between(sim_rng_t *rng, double low, double high)
{
    return low + (high - low) * ((double) (sim_rng_next(rng) >> 11) * 0x1p-53);
}


/* From low to high, both included. */
static inline int
sim_rng_pick(sim_rng_t *rng, int low, int high)
{
    return low + (int) (sim_rng_next(rng) % (uint64_t) (high - low + 1));
}

#endif /* COCO_SIM_RNG_H */
