/*
 * Shared by the tests of the fleet index: random fleets, and a look at every
 * link of an index. The latter also runs where no test framework is (in
 * children, and after a writer was killed), so it returns what is wrong.
 */

#ifndef CORE_FLEET_H
#define CORE_FLEET_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "coco_delivery.h"
#include "coco_fleet_index_block.h"

#define FLEET_NOW       INT64_C(1795000000000)
#define FLEET_NODE_MIN  5        /* robots beneath a node but the root */

static const coco_supply_rules_t  fleet_rules = {
    .online_ms = 60000, .low_battery_percent = 20
};

/* Where the robots of a fleet are. */
typedef enum {
    FLEET_WORLD = 0, FLEET_CITY, FLEET_BLOCK, FLEET_POINT, FLEET_POLES,
    FLEET_DATE_LINE, FLEET_DEPOTS, FLEET_SHAPES
} fleet_shape_e;

static _Thread_local uint64_t  fleet_random_state = 1;


static inline void
fleet_random_seed(uint64_t seed)
{
    fleet_random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
}


/* xorshift64*, without its weak lower bits */
static inline uint64_t
fleet_random(uint64_t below)
{
    fleet_random_state ^= fleet_random_state >> 12;
    fleet_random_state ^= fleet_random_state << 25;
    fleet_random_state ^= fleet_random_state >> 27;

    return ((fleet_random_state * UINT64_C(2685821657736338717)) >> 16)
           % below;
}


static inline int32_t
fleet_random_around(int32_t middle, int32_t reach)
{
    return (int32_t) (middle - (int64_t) reach
                      + (int64_t) fleet_random((uint64_t) reach * 2 + 1));
}


/* In ten-millionths of a degree. */
static inline void
fleet_random_place(fleet_shape_e shape, int32_t *latitude, int32_t *longitude)
{
    int32_t  depot;

    *latitude = fleet_random_around(0, 900000000);
    *longitude = fleet_random_around(0, 1800000000);

    switch (shape) {

    case FLEET_CITY:
        *latitude = fleet_random_around(340500000, 500000);
        *longitude = fleet_random_around(-1182500000, 500000);
        break;

    case FLEET_BLOCK:
        *latitude = fleet_random_around(340500000, 5000);
        *longitude = fleet_random_around(-1182500000, 5000);
        break;

    case FLEET_POINT:
        *latitude = 340500000;
        *longitude = -1182500000;
        break;

    case FLEET_POLES:
        *latitude = fleet_random(2) ? 900000000 - (int32_t) fleet_random(9000)
                                    : (int32_t) fleet_random(9000) - 900000000;
        break;

    case FLEET_DATE_LINE:
        *latitude = fleet_random_around(-178000000, 400000);
        *longitude = fleet_random(2)
                     ? 1800000000 - (int32_t) fleet_random(400000)
                     : (int32_t) fleet_random(400000) - 1800000000;
        break;

    case FLEET_DEPOTS:
        depot = (int32_t) fleet_random(20);
        *latitude = fleet_random_around(340000000 + 100000 * depot, 20);
        *longitude = fleet_random_around(-1182500000 + 70000 * depot, 20);
        break;

    default:
        break;
    }
}


static inline coco_str_t
fleet_serial(uint32_t robot, char buf[COCO_SERIAL_MAX])
{
    int  len = snprintf(buf, COCO_SERIAL_MAX, "coco-%x", robot * 2654435761u);

    return (coco_str_t) { buf, (size_t) len };
}


static inline int8_t
fleet_random_flag(void)
{
    return (int8_t) fleet_random(3) - 1;
}


/* Parts of a robot, most of them such that it is usable; those with the same
 * version are the same. */
static inline coco_supply_state_t
fleet_random_state_of(fleet_shape_e shape, int64_t now)
{
    uint64_t             odd = fleet_random(4);
    coco_supply_state_t  state = { .parts = (unsigned) fleet_random(16) };

    state.telemetry.order.order_ms = now - (int64_t) fleet_random(70000);
    state.telemetry.order.ts = (int64_t) fleet_random(UINT64_C(1) << 40);
    fleet_random_place(shape, &state.telemetry.latitude_e7,
                       &state.telemetry.longitude_e7);
    state.telemetry.battery_percent = (float) (odd ? 90 : fleet_random(40));
    state.telemetry.healthy = odd || fleet_random(2);

    state.business.changed_at = (int64_t) fleet_random(UINT64_C(1) << 40);
    state.business.operation_state = odd ? COCO_STATE_PARKED
                                         : (coco_state_e) fleet_random(6);
    state.business.driveable = odd ? COCO_TRUE : fleet_random_flag();
    state.business.undergoing_maintenance = odd ? COCO_UNSET
                                                : fleet_random_flag();
    state.business.needs_maintenance = COCO_FALSE;
    state.business.needs_pickup = odd ? COCO_FALSE : fleet_random_flag();
    state.business.has_food = odd ? COCO_UNSET : fleet_random_flag();
    state.business.needs_movement = fleet_random_flag();

    state.demand.version = (int64_t) fleet_random(UINT64_C(1) << 40);
    state.demand.demands = odd ? 0 : (uint32_t) fleet_random(2);
    state.demand.held_until = fleet_random(3)
                              ? 0 : now + (int64_t) fleet_random(50000) - 5000;

    state.lid.at = (int64_t) fleet_random(UINT64_C(1) << 40);
    state.lid.open = fleet_random(8) == 0;

    return state;
}


/* What was in the block before is arbitrary. */
static inline coco_fleet_index_t *
fleet_create(uint32_t robots)
{
    size_t  size = (coco_fleet_index_size(robots) + 63) & ~(size_t) 63;
    void   *block = aligned_alloc(64, size);

    if (block == NULL) {
        perror("fleet_create");
        exit(1);
    }

    memset(block, 0xa5, size);
    coco_fleet_index_init(block, robots, &fleet_rules);

    return block;
}


/* --- a look at every link ------------------------------------------------- */

#define FLEET_SOUND(condition)                                               \
    do {                                                                     \
        if (!(condition)) {                                                  \
            return #condition;                                               \
        }                                                                    \
    } while (0)

typedef struct {
    const coco_fleet_index_t  *index;
    uint32_t                   nodes, robots;
    uint8_t                   *seen;       /* robots */
} fleet_look_t;


static inline unsigned
fleet_octant(const fleet_point_t *point, int depth)
{
    int  bit = 31 - depth;

    return ((point->x >> bit) & 1) + ((point->y >> bit) & 1) * 2
           + ((point->z >> bit) & 1) * 4;
}


static inline const char *
fleet_leaf_sound(fleet_look_t *look, uint32_t robot,
    const unsigned *octants, int depth)
{
    int                        d;
    uint32_t                   previous = COCO_ROBOT_NONE;
    uint32_t                  *back = fleet_array(look->index, FLEET_PREVIOUS);
    fleet_point_t              point;
    const fleet_point_t       *points = fleet_points(look->index);
    const coco_supply_state_t *state;

    for ( /* void */ ; robot != COCO_ROBOT_NONE; robot = points[robot].next) {
        FLEET_SOUND(robot < look->index->count);
        FLEET_SOUND(!look->seen[robot]);
        FLEET_SOUND(back[robot] == previous);
        FLEET_SOUND(fleet_records(look->index)[robot].reasons == 0);

        state = coco_fleet_index_state(look->index, robot);
        coco_fleet_place_point(&point, &state->telemetry);
        FLEET_SOUND(point.x == points[robot].x && point.y == points[robot].y
                    && point.z == points[robot].z);

        for (d = 0; d < depth; d++) {
            FLEET_SOUND(fleet_octant(&point, d) == octants[d]);
        }

        look->seen[robot] = 1;
        look->robots++;
        previous = robot;
    }

    return NULL;
}


static inline const char *
fleet_node_sound(fleet_look_t *look, uint32_t number, unsigned *octants,
    int depth)
{
    uint32_t             child, before = look->robots;
    unsigned             octant;
    const char          *wrong;
    const uint32_t      *counts;
    const fleet_node_t  *nodes = fleet_array(look->index, FLEET_NODES);

    counts = fleet_array(look->index, FLEET_NODE_COUNTS);

    FLEET_SOUND(depth < FLEET_DEPTH);
    FLEET_SOUND(number < look->index->nodes_used);
    FLEET_SOUND(number == 0 || counts[number] >= FLEET_NODE_MIN);
    FLEET_SOUND(++look->nodes <= look->index->nodes_used);

    for (octant = 0; octant < FLEET_CHILDREN; octant++) {
        octants[depth] = octant;
        child = nodes[number].child[octant];

        wrong = child & FLEET_NODE_BIT
                ? fleet_node_sound(look, child & ~FLEET_NODE_BIT, octants,
                                   depth + 1)
                : fleet_leaf_sound(look, child - 1, octants, depth + 1);
        if (wrong != NULL) {
            return wrong;
        }
    }

    FLEET_SOUND(look->robots - before == counts[number]);

    return NULL;
}


static inline const char *
fleet_tree_sound(fleet_look_t *look)
{
    uint32_t                   number;
    unsigned                   octants[FLEET_DEPTH + 1];
    const char                *wrong;
    const fleet_node_t        *nodes;
    const coco_fleet_index_t  *index = look->index;

    wrong = fleet_node_sound(look, 0, octants, 0);
    if (wrong != NULL) {
        return wrong;
    }

    nodes = fleet_array(index, FLEET_NODES);
    FLEET_SOUND(index->nodes_used <= index->capacity);

    for (number = index->nodes_free; number != 0;
         number = nodes[number].child[0])
    {
        FLEET_SOUND(++look->nodes <= index->nodes_used);
    }

    FLEET_SOUND(look->nodes == index->nodes_used);      /* none is lost */
    FLEET_SOUND(look->robots == index->usable);

    return NULL;
}


/* Each robot's own data: found by its serial, counted, in the heap. */
static inline const char *
fleet_robots_sound(const coco_fleet_index_t *index)
{
    int                    r;
    uint32_t               robot, counts[COCO_REASONS_STANDING] = { 0 };
    uint32_t               usable = 0;
    const uint32_t        *places = fleet_array(index, FLEET_HEAP_PLACES);
    const fleet_due_t     *heap = fleet_array(index, FLEET_HEAP);
    const fleet_record_t  *record;

    FLEET_SOUND(index->count <= index->capacity);

    for (robot = 0; robot < index->count; robot++) {
        record = &fleet_records(index)[robot];

        FLEET_SOUND(coco_fleet_index_find(index,
                        coco_fleet_index_serial(index, robot)) == robot);
        FLEET_SOUND(places[robot] < index->count);
        FLEET_SOUND(heap[places[robot]].robot == robot);
        FLEET_SOUND(robot == 0
                    || heap[(robot - 1) / 2].due <= heap[robot].due);

        usable += record->reasons == 0;

        for (r = 0; r < COCO_REASONS_STANDING; r++) {
            counts[r] += (record->reasons >> r) & 1;
        }
    }

    FLEET_SOUND(usable == index->usable);
    FLEET_SOUND(memcmp(counts, index->counts, sizeof(counts)) == 0);

    return NULL;
}


/* NULL, or what does not hold. */
static inline const char *
fleet_wrong(const coco_fleet_index_t *index)
{
    const char    *wrong;
    fleet_look_t   look = { .index = index };

    look.seen = calloc(index->capacity ? index->capacity : 1, 1);
    if (look.seen == NULL) {
        return "no memory";
    }

    wrong = fleet_tree_sound(&look);
    free(look.seen);

    return wrong != NULL ? wrong : fleet_robots_sound(index);
}

#endif /* CORE_FLEET_H */
