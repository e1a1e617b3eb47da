/*
 * The usable robots by where they are: an octree over the unit sphere, whose
 * cubes know neither poles nor a date line, and nearness is that of the chord.
 * A cube is a node of eight smaller ones or, with few robots in it, a leaf: a
 * list of them. Must never tell a distance but that of coco_distance_meters():
 * the chord only rules out.
 */

#include <math.h>

#include "coco_delivery.h"
#include "coco_fleet_index_block.h"


#define LEAF_MAX      8      /* robots, before it is divided */
#define NODE_MIN      5      /* robots, or it becomes a leaf */

/* Steps of a point's coordinate from the sphere's middle to its surface. */
#define RADIUS_STEPS  2147483647.0

/* A point's rounding puts it 0.87 steps off at most. */
#define SLACK_STEPS   1.0

/* Of each node on the way down all children may wait. */
#define WAITING_MAX   ((FLEET_CHILDREN - 1) * FLEET_DEPTH + 1)

/* A cube to look into. */
typedef struct {
    double    distance2;                 /* squared, to the place; steps */
    double    distance[3];               /* by axis; 0: within */
    uint32_t  from[3];                   /* the cube's corner */
    uint32_t  child;
    int       depth;
} place_cube_t;

typedef struct {
    const coco_fleet_index_t  *index;
    uint32_t                   capacity;
    uint64_t                   budget;   /* of steps, lest a torn tree that
                                            bites its tail be walked on */
    double                     latitude, longitude;
    double                     at[3];    /* steps */
    double                     bound;    /* metres */
    double                     bound2;   /* its chord squared, with slack */
    coco_fleet_index_visit_pt  visit;
    void                      *data;
    size_t                     waiting;
    place_cube_t               cubes[WAITING_MAX];
} place_search_t;


static uint32_t leaf_divide(coco_fleet_index_t *index, uint32_t child,
    int depth);
static void node_join(coco_fleet_index_t *index, uint32_t *slot, int depth,
    const fleet_point_t *point);
static void cube_divide(place_search_t *search, const place_cube_t *cube);
static void leaf_visit(place_search_t *search, uint32_t robot);
static void bound_set(place_search_t *search, double bound);


static inline uint32_t *
fleet_previous(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_PREVIOUS);
}


static inline fleet_node_t *
fleet_nodes(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_NODES);
}


/* Of robots beneath a node: the writer's. */
static inline uint32_t *
fleet_node_counts(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_NODE_COUNTS);
}


/* Which child of a node at this depth the point is in. */
static inline unsigned
point_octant(const fleet_point_t *point, int depth)
{
    int  bit = 31 - depth;

    return ((point->x >> bit) & 1) | ((point->y >> bit) & 1) << 1
           | ((point->z >> bit) & 1) << 2;
}


static inline bool
child_is_node(uint32_t child)
{
    return (child & FLEET_NODE_BIT) != 0;
}


static void
unit_vector(double ret[3], double latitude, double longitude)
{
    double  phi = latitude * M_PI / 180, lambda = longitude * M_PI / 180;

    ret[0] = (cos(phi) * cos(lambda) + 1) * RADIUS_STEPS;
    ret[1] = (cos(phi) * sin(lambda) + 1) * RADIUS_STEPS;
    ret[2] = (sin(phi) + 1) * RADIUS_STEPS;
}


void
coco_fleet_place_point(fleet_point_t *ret,
    const coco_supply_telemetry_t *telemetry)
{
    double  at[3];

    unit_vector(at, (double) telemetry->latitude_e7 / COCO_DEGREE_E7,
                (double) telemetry->longitude_e7 / COCO_DEGREE_E7);

    ret->x = (uint32_t) (at[0] + 0.5);
    ret->y = (uint32_t) (at[1] + 0.5);
    ret->z = (uint32_t) (at[2] + 0.5);
}


static void
point_set(coco_fleet_index_t *index, uint32_t robot,
    const fleet_point_t *point)
{
    fleet_point_t  *to = &fleet_points(index)[robot];

    fleet_set(to->x, point->x);
    fleet_set(to->y, point->y);
    fleet_set(to->z, point->z);
}


/* --- nodes and leaves ----------------------------------------------------- */

void
coco_fleet_place_init(coco_fleet_index_t *index)
{
    int  i;

    fleet_set(index->nodes_free, 0);
    fleet_set(index->nodes_used, 1);

    if (index->capacity == 0) {
        return;
    }

    for (i = 0; i < FLEET_CHILDREN; i++) {
        fleet_set(fleet_nodes(index)[0].child[i], 0);
    }

    fleet_node_counts(index)[0] = 0;
}


/* 0, the root's number: there is none. */
static uint32_t
node_take(coco_fleet_index_t *index)
{
    int            i;
    uint32_t       number;
    fleet_node_t  *node;

    if (index->nodes_free != 0) {
        number = index->nodes_free;
        node = &fleet_nodes(index)[number];
        index->nodes_free = node->child[0];

    } else if (index->nodes_used < index->capacity) {
        number = index->nodes_used++;
        node = &fleet_nodes(index)[number];

    } else {
        return 0;
    }

    for (i = 0; i < FLEET_CHILDREN; i++) {
        fleet_set(node->child[i], 0);
    }

    fleet_node_counts(index)[number] = 0;

    return number;
}


static void
node_give(coco_fleet_index_t *index, uint32_t number)
{
    fleet_set(fleet_nodes(index)[number].child[0], index->nodes_free);
    index->nodes_free = number;
}


static void
leaf_push(coco_fleet_index_t *index, uint32_t *slot, uint32_t robot)
{
    uint32_t  first = *slot - 1;         /* of none, COCO_ROBOT_NONE */

    fleet_set(fleet_points(index)[robot].next, first);
    fleet_previous(index)[robot] = COCO_ROBOT_NONE;

    if (first != COCO_ROBOT_NONE) {
        fleet_previous(index)[first] = robot;
    }

    fleet_set(*slot, robot + 1);
}


static void
leaf_pull(coco_fleet_index_t *index, uint32_t *slot, uint32_t robot)
{
    uint32_t  next = fleet_points(index)[robot].next;
    uint32_t  previous = fleet_previous(index)[robot];

    if (next != COCO_ROBOT_NONE) {
        fleet_previous(index)[next] = previous;
    }

    if (previous != COCO_ROBOT_NONE) {
        fleet_set(fleet_points(index)[previous].next, next);

    } else {
        fleet_set(*slot, next + 1);
    }
}


static bool
leaf_full(const coco_fleet_index_t *index, uint32_t child)
{
    int       n;
    uint32_t  robot = child - 1;

    for (n = 0; robot != COCO_ROBOT_NONE && n < LEAF_MAX; n++) {
        robot = fleet_points(index)[robot].next;
    }

    return n == LEAF_MAX;
}


void
coco_fleet_place_insert(coco_fleet_index_t *index, uint32_t robot,
    const fleet_point_t *point)
{
    int            depth;
    uint32_t      *slot, child, number = 0;

    point_set(index, robot, point);

    for (depth = 0; /* void */ ; depth++) {
        fleet_node_counts(index)[number]++;

        slot = &fleet_nodes(index)[number].child[point_octant(point, depth)];
        child = *slot;

        if (child_is_node(child)) {
            number = child & ~FLEET_NODE_BIT;
            continue;
        }

        if (depth + 1 == FLEET_DEPTH || !leaf_full(index, child)) {
            break;
        }

        number = leaf_divide(index, child, depth + 1);

        if (number == 0) {
            break;                       /* the leaf grows instead */
        }

        fleet_set(*slot, number | FLEET_NODE_BIT);
    }

    leaf_push(index, slot, robot);
}


/* The number of the node, at this depth, that has the leaf's robots; 0: there
 * is no room for one. */
static uint32_t
leaf_divide(coco_fleet_index_t *index, uint32_t child, int depth)
{
    uint32_t        robot, next, number = node_take(index);
    fleet_node_t   *node = &fleet_nodes(index)[number];
    fleet_point_t  *point;

    if (number == 0) {
        return 0;
    }

    for (robot = child - 1; robot != COCO_ROBOT_NONE; robot = next) {
        point = &fleet_points(index)[robot];
        next = point->next;
        leaf_push(index, &node->child[point_octant(point, depth)], robot);
        fleet_node_counts(index)[number]++;
    }

    return number;
}


void
coco_fleet_place_remove(coco_fleet_index_t *index, uint32_t robot)
{
    int                   depth, sparse_depth = 0;
    uint32_t             *slot, *sparse = NULL, number = 0;
    const fleet_point_t  *point = &fleet_points(index)[robot];

    for (depth = 0; /* void */ ; depth++) {
        fleet_node_counts(index)[number]--;

        slot = &fleet_nodes(index)[number].child[point_octant(point, depth)];

        if (!child_is_node(*slot)) {
            break;
        }

        number = *slot & ~FLEET_NODE_BIT;

        /* this one is still in the count */
        if (sparse == NULL && fleet_node_counts(index)[number] <= NODE_MIN) {
            sparse = slot;
            sparse_depth = depth + 1;
        }
    }

    leaf_pull(index, slot, robot);

    if (sparse != NULL) {
        node_join(index, sparse, sparse_depth, point);
    }
}


/*
 * Makes a leaf of the node in this slot, which is at this depth and has just
 * lost the robot at the point. Only on the way to that point can there be
 * nodes beneath it: all others that had as few were joined before.
 */
static void
node_join(coco_fleet_index_t *index, uint32_t *slot, int depth,
    const fleet_point_t *point)
{
    unsigned        i, octant;
    uint32_t        child, robot, next, leaf = 0, inner = *slot;
    fleet_node_t   *node;

    while (child_is_node(inner)) {
        node = &fleet_nodes(index)[inner & ~FLEET_NODE_BIT];
        octant = point_octant(point, depth++);
        child = node->child[octant];

        for (i = 0; i < FLEET_CHILDREN; i++) {
            if (child_is_node(node->child[i])) {
                continue;
            }

            for (robot = node->child[i] - 1; robot != COCO_ROBOT_NONE;
                 robot = next)
            {
                next = fleet_points(index)[robot].next;
                leaf_push(index, &leaf, robot);
            }
        }

        node_give(index, inner & ~FLEET_NODE_BIT);
        inner = child;
    }

    fleet_set(*slot, leaf);
}


void
coco_fleet_place_move(coco_fleet_index_t *index, uint32_t robot,
    const fleet_point_t *point)
{
    int                   depth;
    uint32_t              child, crossed, number = 0;
    const fleet_point_t  *from = &fleet_points(index)[robot];

    crossed = (from->x ^ point->x) | (from->y ^ point->y)
              | (from->z ^ point->z);

    if (crossed == 0) {
        return;
    }

    for (depth = 0; /* void */ ; depth++) {
        if ((crossed >> (31 - depth)) != 0) {
            coco_fleet_place_remove(index, robot);
            coco_fleet_place_insert(index, robot, point);
            return;
        }

        child = fleet_nodes(index)[number].child[point_octant(from, depth)];

        if (!child_is_node(child)) {
            break;                       /* both are in this leaf */
        }

        number = child & ~FLEET_NODE_BIT;
    }

    point_set(index, robot, point);
}


/* --- the search ----------------------------------------------------------- */

void
coco_fleet_index_near(const coco_fleet_index_t *index, double latitude,
    double longitude, double bound_meters, coco_fleet_index_visit_pt visit,
    void *data)
{
    place_cube_t    cube;
    place_search_t  search;

    search.index = index;
    search.capacity = coco_fleet_index_capacity(index);
    search.budget = (uint64_t) search.capacity * 2;
    search.latitude = latitude;
    search.longitude = longitude;
    unit_vector(search.at, latitude, longitude);
    bound_set(&search, bound_meters);
    search.visit = visit;
    search.data = data;
    search.waiting = 0;

    if (search.capacity == 0) {
        return;
    }

    search.cubes[search.waiting++] = (place_cube_t) { .child = FLEET_NODE_BIT };

    while (search.waiting > 0) {
        cube = search.cubes[--search.waiting];

        if (cube.distance2 > search.bound2) {
            continue;
        }

        if (!child_is_node(cube.child)) {
            leaf_visit(&search, cube.child - 1);

        } else if (search.budget-- > 0) {
            cube_divide(&search, &cube);

        } else {
            return;
        }
    }
}


/* Puts the children within the bound aside, the nearest of them on top. */
static void
cube_divide(place_search_t *search, const place_cube_t *cube)
{
    int                  i, axis, bit;
    double               far[3];
    uint32_t             half, child, number = cube->child & ~FLEET_NODE_BIT;
    unsigned             octant, flips, near = 0;
    place_cube_t        *next;
    const fleet_node_t  *node = &fleet_nodes(search->index)[number];

    /* farther ones first: a child across fewer of the middles is nearer */
    static const uint8_t  order[FLEET_CHILDREN] = { 7, 6, 5, 3, 4, 2, 1, 0 };

    if (cube->depth == FLEET_DEPTH || number >= search->capacity) {
        return;
    }

    half = UINT32_C(1) << (31 - cube->depth);

    for (axis = 0; axis < 3; axis++) {
        far[axis] = search->at[axis] - ((double) cube->from[axis] + half);
        near |= (unsigned) (far[axis] >= 0) << axis;
        far[axis] = fabs(far[axis]);
    }

    for (i = 0; i < FLEET_CHILDREN; i++) {
        flips = order[i];
        octant = near ^ flips;
        child = fleet_get(node->child[octant]);

        if (child == 0) {
            continue;
        }

        next = &search->cubes[search->waiting];
        next->distance2 = 0;

        for (axis = 0; axis < 3; axis++) {
            bit = (flips >> axis) & 1;
            next->distance[axis] = bit ? far[axis] : cube->distance[axis];
            next->distance2 += next->distance[axis] * next->distance[axis];
        }

        if (next->distance2 > search->bound2) {
            continue;
        }

        for (axis = 0; axis < 3; axis++) {
            bit = (octant >> axis) & 1;
            next->from[axis] = cube->from[axis] + (bit ? half : 0);
        }

        next->child = child;
        next->depth = cube->depth + 1;
        search->waiting++;
    }
}


static void
leaf_visit(place_search_t *search, uint32_t robot)
{
    double                          x, y, z, meters, bound;
    uint32_t                        next;
    const fleet_point_t            *point;
    const coco_supply_telemetry_t  *telemetry;

    for ( /* void */ ; robot < search->capacity && search->budget > 0;
         robot = next, search->budget--)
    {
        point = &fleet_points(search->index)[robot];
        next = fleet_get(point->next);

        x = (double) fleet_get(point->x) - search->at[0];
        y = (double) fleet_get(point->y) - search->at[1];
        z = (double) fleet_get(point->z) - search->at[2];

        if (x * x + y * y + z * z > search->bound2) {
            continue;
        }

        telemetry = &fleet_records(search->index)[robot].state.telemetry;
        meters = coco_distance_meters(search->latitude, search->longitude,
                     (double) fleet_get(telemetry->latitude_e7)
                     / COCO_DEGREE_E7,
                     (double) fleet_get(telemetry->longitude_e7)
                     / COCO_DEGREE_E7);

        if (meters > search->bound) {
            continue;
        }

        bound = search->visit(search->data, robot, meters);

        if (bound < search->bound) {
            bound_set(search, bound);
        }
    }
}


static void
bound_set(place_search_t *search, double bound)
{
    double  chord;

    search->bound = bound;

    if (bound < 0) {
        search->bound2 = -1;

    } else if (bound < M_PI * COCO_EARTH_RADIUS) {
        chord = 2 * sin(bound / (2 * COCO_EARTH_RADIUS)) * RADIUS_STEPS
                + SLACK_STEPS;
        search->bound2 = chord * chord;

    } else {
        search->bound2 = INFINITY;
    }
}
