/*
 * How the block of a fleet index is laid out, for the files that make it up.
 * Nobody else may include this.
 *
 * Readers look on while the writer changes things: whatever both touch is read
 * with fleet_get() and written with fleet_set(), and every number that a reader
 * takes for an index is compared with the capacity first. The order of these
 * accesses is the sequence's business.
 */

#ifndef COCO_FLEET_INDEX_BLOCK_H
#define COCO_FLEET_INDEX_BLOCK_H

#include "coco_fleet_index.h"

#define fleet_get(x)     __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define fleet_set(x, v)  __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

#define FLEET_ROBOTS_MAX  (UINT32_C(1) << 30)
#define FLEET_CHILDREN    8

/* Of a record that is not counted yet. */
#define FLEET_UNCOUNTED   (UINT32_C(1) << 31)

typedef struct {
    coco_supply_state_t  state;
    coco_reasons_t       reasons;        /* standing, by the last look */
    uint8_t              serial_len;
    char                 serial[COCO_SERIAL_MAX];
} __attribute__((aligned(64))) fleet_record_t;

/* Where a usable robot is: its unit vector, each coordinate from -1..1 to all
 * that 32 bits hold (a step is 3 mm); and the next one of its leaf. */
typedef struct {
    uint32_t  x, y, z;
    uint32_t  next;                      /* robot; COCO_ROBOT_NONE */
} fleet_point_t;

/* A cube of the octree. A child is 0, nothing; a node's number with this bit;
 * else the first robot of a leaf, + 1. */
typedef struct {
    uint32_t  child[FLEET_CHILDREN];
} fleet_node_t;

#define FLEET_NODE_BIT  (UINT32_C(1) << 31)
#define FLEET_DEPTH     24       /* halvings at most: to a cube of 76 cm */

/* A robot has to be looked at again after `due`, or later. */
typedef struct {
    int64_t   due;                       /* ms; INT64_MAX: never */
    uint32_t  robot;
} fleet_due_t;

struct coco_fleet_index_s {
    uint32_t             capacity;
    coco_supply_rules_t  rules;

    uint64_t             sequence        /* odd: a change is under way */
                         __attribute__((aligned(64)));
    uint32_t             writing;        /* the writer's own data, too, may be
                                            half changed */
    uint32_t             count;
    uint32_t             usable;
    uint32_t             counts[COCO_REASONS_STANDING];
    uint32_t             nodes_used;     /* ever; the root is node 0 */
    uint32_t             nodes_free;     /* list by child[0]; 0: none */
} __attribute__((aligned(64)));

/* Behind it, each array with as many members as robots have room (slots: two
 * for each robot), in this order. */
enum {
    FLEET_RECORDS = 0,
    FLEET_NODES = FLEET_RECORDS + sizeof(fleet_record_t),
    FLEET_POINTS = FLEET_NODES + sizeof(fleet_node_t),
    FLEET_HEAP = FLEET_POINTS + sizeof(fleet_point_t),
    FLEET_SLOTS = FLEET_HEAP + sizeof(fleet_due_t),
    FLEET_NODE_COUNTS = FLEET_SLOTS + 2 * sizeof(uint32_t),
    FLEET_HEAP_PLACES = FLEET_NODE_COUNTS + sizeof(uint32_t),
    FLEET_PREVIOUS = FLEET_HEAP_PLACES + sizeof(uint32_t),
    FLEET_ROBOT = FLEET_PREVIOUS + sizeof(uint32_t)
};


/* Only the writer, whose index is not const, may write what it gets. */
static inline void *
fleet_array(const coco_fleet_index_t *index, size_t array)
{
    return (char *) (uintptr_t) (index + 1)
           + (size_t) fleet_get(index->capacity) * array;
}


static inline fleet_record_t *
fleet_records(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_RECORDS);
}


static inline fleet_point_t *
fleet_points(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_POINTS);
}


/* coco_fleet_index_place.c: the usable robots by where they are */

void coco_fleet_place_init(coco_fleet_index_t *index);

/* *ret less .next. */
void coco_fleet_place_point(fleet_point_t *ret,
    const coco_supply_telemetry_t *telemetry);

void coco_fleet_place_insert(coco_fleet_index_t *index, uint32_t robot,
    const fleet_point_t *point);
void coco_fleet_place_remove(coco_fleet_index_t *index, uint32_t robot);
void coco_fleet_place_move(coco_fleet_index_t *index, uint32_t robot,
    const fleet_point_t *point);


/* coco_fleet_index_due.c: who has to be looked at when; the writer's alone */

/* The robot numbered `count`, due never. */
void coco_fleet_due_add(coco_fleet_index_t *index, uint32_t robot);

/* Due at that time, if it was not before: looking too early does no harm, and
 * what every heartbeat puts off need not be moved each time. */
void coco_fleet_due_by(coco_fleet_index_t *index, uint32_t robot, int64_t due);

/* The first, of at least one. */
fleet_due_t coco_fleet_due_first(const coco_fleet_index_t *index);

/* Puts the first off until then. */
void coco_fleet_due_later(coco_fleet_index_t *index, int64_t due);

#endif /* COCO_FLEET_INDEX_BLOCK_H */
