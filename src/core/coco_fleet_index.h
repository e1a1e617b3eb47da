/*
 * All robots of the fleet as one block of memory that the caller gives: found
 * by serial, the usable ones by place, and counted by the reasons that rule
 * the others out. It holds no pointers, so that processes may share it at
 * different addresses, and allocates nothing. One writer at a time (the
 * caller's lock); readers take no lock, and check afterwards that nobody has
 * written meanwhile. Robots are never removed.
 */

#ifndef COCO_FLEET_INDEX_H
#define COCO_FLEET_INDEX_H

#include "coco_supply.h"

typedef struct coco_fleet_index_s  coco_fleet_index_t;

#define COCO_ROBOT_NONE  UINT32_MAX

/* Bytes for so many robots; 0 when that is too many to number. */
size_t coco_fleet_index_size(uint32_t robots);

/* In a block of coco_fleet_index_size(robots) bytes, aligned to 64: 276 for
 * each robot, of which 8 are written now, the others when it comes. Empties
 * what was there, whatever state a writer that died has left it in; readers
 * see that it was written. */
void coco_fleet_index_init(void *block, uint32_t robots,
    const coco_supply_rules_t *rules);

/* --- the writer ----------------------------------------------------------- */

/* To whoever has taken over the lock: a writer has died amidst a change, and
 * coco_fleet_index_init() is needed. */
bool coco_fleet_index_broken(const coco_fleet_index_t *index);

/* Takes over the parts that are newer. Returns those that were (0: nothing has
 * changed), or COCO_ERROR: the robot is not known and there is no room. */
int coco_fleet_index_put(coco_fleet_index_t *index, coco_str_t serial,
    const coco_supply_state_t *state, int64_t now);

/* Looks again at the robots whose reasons have changed by time alone. Returns
 * when to look next, ms; INT64_MAX: never. May be called at any time, is quick
 * when nothing is due, and looks at no more than `max` robots. */
int64_t coco_fleet_index_sweep(coco_fleet_index_t *index, int64_t now,
    uint32_t max);

/* --- readers -------------------------------------------------------------- */

/* Around a read: what was read counts if the second is true. The functions
 * below are safe beside a writer: they end, and read nothing outside the
 * block; what they say may then be nonsense. The first returns an odd number
 * while a change is under way: do not read then. */
uint64_t coco_fleet_index_begin(const coco_fleet_index_t *index);
bool coco_fleet_index_end(const coco_fleet_index_t *index, uint64_t begun);

uint32_t coco_fleet_index_count(const coco_fleet_index_t *index);
uint32_t coco_fleet_index_capacity(const coco_fleet_index_t *index);
const coco_supply_rules_t *coco_fleet_index_rules(
    const coco_fleet_index_t *index);

/* COCO_ROBOT_NONE: not known. Robots are numbered from 0 in the order of their
 * first coming. */
uint32_t coco_fleet_index_find(const coco_fleet_index_t *index,
    coco_str_t serial);

/* Of robot < count. */
coco_str_t coco_fleet_index_serial(const coco_fleet_index_t *index,
    uint32_t robot);
const coco_supply_state_t *coco_fleet_index_state(
    const coco_fleet_index_t *index, uint32_t robot);

/* The running counts, by standing reason: a robot counts under each of its
 * own. By the last sweep. *ret_usable: robots without any. */
void coco_fleet_index_counts(const coco_fleet_index_t *index,
    uint32_t ret[COCO_REASONS_STANDING], uint32_t *ret_usable);

/*
 * The usable robots (by the last sweep) around a place, near ones first,
 * though not in strict order: `visit` is told of each robot with its distance
 * on the sphere (metres), and returns the distance beyond which it is no
 * longer interested (INFINITY: all). Every usable robot no farther than the
 * smallest bound that was returned is visited, each once: also one that is as
 * near as it to the last bit. Distances are those of coco_distance_meters().
 */
typedef double (*coco_fleet_index_visit_pt)(void *data, uint32_t robot,
    double meters);

void coco_fleet_index_near(const coco_fleet_index_t *index, double latitude,
    double longitude, double bound_meters, coco_fleet_index_visit_pt visit,
    void *data);

#endif /* COCO_FLEET_INDEX_H */
