/*
 * The plan: robots in the order of their serials are the columns of an
 * assignment, trips its rows, times to the pickups its costs. Must never
 * depend on the order in which the robots came.
 *
 * Where robots are many, each trip asks for the nearest ones only
 * (coco_assign_rows). A trip's `count` cheapest robots are all it can need: in
 * a plan that gives it another one, the other trips have at most count - 1 of
 * them, so one is free, and no dearer. Where robots are few, all costs are
 * computed beforehand, from chords between unit vectors: a square root in the
 * place of five calls of trigonometry. Their error is a millionth of a
 * millimetre; what decides whether a robot can do a trip at all, and what is
 * returned, comes from coco_trip_cost().
 */

#include <math.h>

#include "coco_assign_rows.h"
#include "coco_delivery.h"
#include "coco_plan.h"

#define PLAN_MATRIX_TRIPS   64      /* more of them: costs beforehand, */
#define PLAN_MATRIX_ROBOTS  2       /* if there are so many robots for each */

/* So near to a limit, and so many percent of battery, nothing is taken for
 * sure. */
#define PLAN_METERS         1e-3
#define PLAN_PERCENT        1e-6
#define PLAN_WIDER          (1 + 1e-9)  /* by which bounds are: rounding */
#define PLAN_ANY            5.0     /* no square of a chord is as long */

/* Below 0.01 (127 km) the sine's inverse is as exact by four terms. */
#define PLAN_SERIES         0.01

typedef struct {
    double  x, y, z;                /* on the unit sphere */
} plan_point_t;

typedef struct {
    const coco_trip_plan_t   *trips;
    const coco_plan_robot_t  *robots;
    const coco_trip_rules_t  *rules;
    uint32_t                  count, robot_count;
    uint32_t                  inside;       /* robots in the service area */
    uint32_t                  fullest;      /* of them, most battery: column */
    double                    reach;        /* no robot at a longer chord, its
                                               square, can do a trip */

    uint32_t                 *order;        /* column: robot */
    uint32_t                 *scratch;
    uint32_t                 *taken;        /* trip: column */
    uint32_t                 *group;        /* trip: the first one with the same
                                               pickup */
    plan_point_t             *points;       /* of columns; outside the area:
                                               infinitely far */
    double                   *matrix;
    void                     *solver;
} plan_t;

/* A row of the matrix. */
typedef struct {
    uint32_t      trip;
    plan_point_t  point;
    double        need, ready;              /* coco_trip_need(), _ready() */
} plan_row_t;


static bool plan_layout(plan_t *p, char *work, size_t *ret_size);
static void *plan_part(char *work, unsigned __int128 *size,
    unsigned __int128 bytes);
static bool plan_is_matrix(const plan_t *p);
static void plan_columns(plan_t *p);
static void plan_sort(plan_t *p);
static bool plan_after(const plan_t *p, uint32_t x, uint32_t y);
static void plan_groups(plan_t *p);
static bool plan_covers(void *data, uint32_t trip, uint32_t other);
static void plan_matrix(plan_t *p);
static double plan_cost(const plan_t *p, const plan_row_t *row,
    uint32_t column, double square);
static void plan_tell(void *data, uint32_t row, coco_assign_piece_t *piece);
static coco_reasons_t plan_exact(const plan_t *p, uint32_t trip,
    uint32_t column, coco_trip_cost_t *ret);
static coco_reasons_t plan_reasons(const plan_t *p, uint32_t trip);
static plan_point_t plan_point(const coco_place_t *place);
static double plan_square(const plan_point_t *a, const plan_point_t *b);
static double plan_square_of(const plan_t *p, double way);
static double plan_meters(double square);


size_t
coco_plan_size(uint32_t trips, uint32_t robots)
{
    size_t  size;
    plan_t  p = { .count = trips, .robot_count = robots };

    return plan_layout(&p, NULL, &size) ? size : 0;
}


void
coco_plan(const coco_trip_plan_t *trips, uint32_t count,
    const coco_plan_robot_t *robots, uint32_t robot_count, void *work,
    coco_plan_result_t *ret, double *ret_total)
{
    size_t            size;
    uint32_t          i;
    coco_trip_cost_t  cost;
    plan_t            p = { .trips = trips, .count = count, .robots = robots,
                            .robot_count = robot_count };

    coco_assign_source_t  source = { .tell = plan_tell, .data = &p,
                                     .covers = plan_covers };

    *ret_total = 0;

    if (count == 0) {
        return;
    }

    p.rules = trips[0].rules;
    plan_layout(&p, work, &size);
    plan_columns(&p);

    plan_groups(&p);

    if (plan_is_matrix(&p)) {
        plan_matrix(&p);
    }

    if (count > robot_count && p.matrix != NULL) {
        coco_assign(p.matrix, count, robot_count, p.solver, p.taken);

    } else {
        source.matrix = p.matrix;
        source.group = p.group;
        coco_assign_rows(&source, count, robot_count, p.solver, p.taken);
    }

    for (i = 0; i < count; i++) {
        memset(&ret[i], 0, sizeof(ret[i]));
        ret[i].robot = COCO_ROBOT_NONE;

        if (p.taken[i] == COCO_ASSIGN_NONE) {
            ret[i].reasons = plan_reasons(&p, i);
            continue;
        }

        plan_exact(&p, i, p.taken[i], &cost);
        ret[i].robot = p.order[p.taken[i]];
        ret[i].cost = cost.pickup_eta;
        *ret_total += cost.pickup_eta;
    }
}


/* Points into work, unless it is NULL. */
static bool
plan_layout(plan_t *p, char *work, size_t *ret_size)
{
    size_t             solver;
    unsigned __int128  size = 16, robots = p->robot_count,
                       trips = p->count;

    p->order = plan_part(work, &size, robots * sizeof(*p->order));
    p->scratch = plan_part(work, &size, robots * sizeof(*p->scratch));
    p->points = plan_part(work, &size, robots * sizeof(*p->points));
    p->taken = plan_part(work, &size, trips * sizeof(*p->taken));
    p->group = plan_part(work, &size, trips * sizeof(*p->group));

    if (plan_is_matrix(p)) {
        p->matrix = plan_part(work, &size,
                              robots * p->count * sizeof(*p->matrix));
    }

    solver = plan_is_matrix(p)
             ? coco_assign_size(p->count, p->robot_count)
             : coco_assign_rows_size(p->count, p->robot_count, false);

    p->solver = plan_part(work, &size, solver);
    *ret_size = (size_t) size;

    return solver != 0 && size <= PTRDIFF_MAX;
}


static void *
plan_part(char *work, unsigned __int128 *size, unsigned __int128 bytes)
{
    char  *part = work == NULL ? NULL : work + (size_t) *size;

    *size += (bytes + 15) / 16 * 16;

    return part;
}


static bool
plan_is_matrix(const plan_t *p)
{
    return p->count > PLAN_MATRIX_TRIPS
           && p->robot_count / PLAN_MATRIX_ROBOTS <= p->count;
}


static void
plan_columns(plan_t *p)
{
    float                     most = -1;
    uint32_t                  i;
    coco_place_t              place;
    const coco_plan_robot_t  *robot;

    plan_sort(p);

    p->inside = 0;
    p->fullest = 0;
    p->reach = plan_square_of(p, p->rules->reach_meters);

    for (i = 0; i < p->robot_count; i++) {
        robot = &p->robots[p->order[i]];
        place = coco_trip_place(&robot->telemetry);

        if (!coco_area_contains(p->rules->area, p->rules->area_count, &place))
        {
            p->points[i] = (plan_point_t) { INFINITY, 0, 0 };
            continue;
        }

        p->points[i] = plan_point(&place);
        p->inside++;

        if (robot->telemetry.battery_percent > most) {
            most = robot->telemetry.battery_percent;
            p->fullest = i;
        }
    }
}


/* Merges runs of 1, 2, 4, ... */
static void
plan_sort(plan_t *p)
{
    uint32_t  n = p->robot_count, i, *from, *to;
    uint64_t  run, at, x, y, middle, end;

    from = p->order;
    to = p->scratch;

    for (i = 0; i < n; i++) {
        from[i] = i;
    }

    for (run = 1; run < n; run *= 2) {
        for (at = 0; at < n; at = end) {
            middle = at + run < n ? at + run : n;
            end = at + 2 * run < n ? at + 2 * run : n;
            x = at;
            y = middle;

            for (i = (uint32_t) at; i < end; i++) {
                to[i] = y == end
                        || (x < middle && !plan_after(p, from[x], from[y]))
                        ? from[x++] : from[y++];
            }
        }

        p->scratch = from;
        from = to;
        to = p->scratch;
    }

    p->order = from;
}


static bool
plan_after(const plan_t *p, uint32_t x, uint32_t y)
{
    coco_str_t  a = { p->robots[x].serial, p->robots[x].serial_len };
    coco_str_t  b = { p->robots[y].serial, p->robots[y].serial_len };

    return coco_str_compare(a, b) > 0;
}


static void
plan_groups(plan_t *p)
{
    uint32_t             i, k;
    const coco_place_t  *place, *other;

    for (i = 0; i < p->count; i++) {
        place = &p->trips[i].trip.pickup;

        for (k = 0; k < i; k++) {
            other = &p->trips[k].trip.pickup;

            if (place->latitude == other->latitude
                && place->longitude == other->longitude)
            {
                break;
            }
        }

        p->group[i] = k;
    }
}


/* Whoever can do the other trip can do this one. */
static bool
plan_covers(void *data, uint32_t trip, uint32_t other)
{
    const plan_t            *p = data;
    const coco_trip_plan_t  *a = &p->trips[trip], *b = &p->trips[other];

    if (a->reasons != 0 || coco_trip_ready(a) > coco_trip_ready(b)) {
        return false;
    }

    return coco_trip_need(a) < coco_trip_need(b) - PLAN_PERCENT
           || (a->trip_meters == b->trip_meters
               && a->charger_meters == b->charger_meters);
}


static void
plan_matrix(plan_t *p)
{
    double      square, *cost = p->matrix;
    uint32_t    column;
    plan_row_t  row;

    for (row.trip = 0; row.trip < p->count; row.trip++) {
        row.point = plan_point(&p->trips[row.trip].trip.pickup);
        row.need = coco_trip_need(&p->trips[row.trip]);
        row.ready = coco_trip_ready(&p->trips[row.trip]);

        for (column = 0; column < p->robot_count; column++) {
            square = plan_square(&p->points[column], &row.point);

            *cost++ = square > p->reach || p->trips[row.trip].reasons != 0
                      ? INFINITY : plan_cost(p, &row, column, square);
        }
    }
}


/* What coco_trip_cost() says, by the chord; near a limit, what it says. */
static double
plan_cost(const plan_t *p, const plan_row_t *row, uint32_t column,
    double square)
{
    double            way, eta, left;
    coco_trip_cost_t  cost;

    way = plan_meters(square) * p->rules->detour;
    eta = way / p->rules->speed;
    left = (double) p->robots[p->order[column]].telemetry.battery_percent
           - coco_trip_energy(p->rules, way, fmax(eta, row->ready))
           - row->need;

    if (p->rules->route == NULL
        && fabs(p->rules->reach_meters - way) > PLAN_METERS
        && fabs(left) > PLAN_PERCENT)
    {
        return way > p->rules->reach_meters || left < 0 ? INFINITY : eta;
    }

    return plan_exact(p, row->trip, column, &cost) == 0
           ? cost.pickup_eta : INFINITY;
}


static void
plan_tell(void *data, uint32_t row, coco_assign_piece_t *piece)
{
    double                   square, bound, limit = INFINITY, *cells;
    plan_t                  *p = data;
    uint32_t                 column;
    plan_point_t             point;
    coco_trip_cost_t         cost;
    const coco_trip_plan_t  *trip = &p->trips[row];

    if (p->matrix != NULL) {
        cells = p->matrix + (size_t) row * p->robot_count;

        for (column = 0; column < p->robot_count; column++) {
            coco_assign_offer(piece, cells[column], column);
        }

        return;
    }

    if (trip->reasons != 0) {
        return;
    }

    bound = p->reach;
    point = plan_point(&trip->trip.pickup);

    for (column = 0; column < p->robot_count; column++) {
        square = plan_square(&p->points[column], &point);

        if (square > bound || plan_exact(p, row, column, &cost) != 0) {
            continue;
        }

        coco_assign_offer(piece, cost.pickup_eta, column);

        if (piece->limit < limit) {
            limit = piece->limit;
            bound = fmin(bound, plan_square_of(p, limit * p->rules->speed));
        }
    }
}


static coco_reasons_t
plan_exact(const plan_t *p, uint32_t trip, uint32_t column,
    coco_trip_cost_t *ret)
{
    coco_place_t              place;
    const coco_plan_robot_t  *robot = &p->robots[p->order[column]];

    place = coco_trip_place(&robot->telemetry);

    return coco_trip_cost(&p->trips[trip], &robot->telemetry,
                          coco_trip_distance(&place,
                                             &p->trips[trip].trip.pickup),
                          ret);
}


/* The reasons that all robots have in common. The one with most battery is
 * asked first: what it can drive is the most that any can. */
static coco_reasons_t
plan_reasons(const plan_t *p, uint32_t trip)
{
    uint32_t                 i;
    plan_point_t             point;
    coco_reasons_t           reasons;
    coco_trip_cost_t         cost;
    const coco_trip_plan_t  *plan = &p->trips[trip];

    if (plan->reasons != 0 || p->robot_count == 0) {
        return plan->reasons;
    }

    if (p->inside == 0) {
        return 1u << COCO_REASON_OUT_OF_AREA;
    }

    point = plan_point(&plan->trip.pickup);
    reasons = plan_exact(p, trip, p->fullest, &cost);

    for (i = 0; i < p->robot_count && reasons != 0; i++) {
        if (reasons == 1u << COCO_REASON_TOO_FAR
            && plan_square(&p->points[i], &point) > p->reach
            && !isinf(p->points[i].x))
        {
            continue;
        }

        reasons &= plan_exact(p, trip, i, &cost);
    }

    return reasons;
}


static plan_point_t
plan_point(const coco_place_t *place)
{
    double  latitude = place->latitude * M_PI / 180;
    double  longitude = place->longitude * M_PI / 180;

    return (plan_point_t) {
        cos(latitude) * cos(longitude),
        cos(latitude) * sin(longitude),
        sin(latitude)
    };
}


static double
plan_square(const plan_point_t *a, const plan_point_t *b)
{
    double  x = a->x - b->x, y = a->y - b->y, z = a->z - b->z;

    return x * x + y * y + z * z;
}


/* A longer chord, by its square, means a longer way. */
static double
plan_square_of(const plan_t *p, double way)
{
    double  half, meters;

    meters = p->rules->route == NULL ? way / p->rules->detour : way;
    half = (meters * PLAN_WIDER + PLAN_METERS) / COCO_EARTH_RADIUS / 2;

    /* near the antipodes chords hardly differ */
    return half < 1.5 ? 4 * sin(half) * sin(half) : PLAN_ANY;
}


static double
plan_meters(double square)
{
    double  sine = sqrt(square) / 2, s = square / 4;

    if (sine > PLAN_SERIES) {
        return 2 * COCO_EARTH_RADIUS * asin(fmin(1, sine));
    }

    return 2 * COCO_EARTH_RADIUS * sine
           * (1 + s * (1.0 / 6 + s * (3.0 / 40 + s * (15.0 / 336))));
}
