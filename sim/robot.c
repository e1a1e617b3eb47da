/*
 * The model of one robot. It drives along the streets of a regular grid at
 * walking pace; every number it reports follows from that drive. Must never
 * look at a clock or at anything but its own state.
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "robot.h"

/* Mid-city Santa Monica, WGS84 degrees, and its blocks. */
#define SIM_CENTRE_LATITUDE   34.0245
#define SIM_CENTRE_LONGITUDE  (-118.4800)
#define SIM_METRES_A_DEGREE   111320.0
#define SIM_BLOCK_EAST        110.0             /* metres */
#define SIM_BLOCK_NORTH       85.0
#define SIM_GRID              8                 /* crossings each way */

#define SIM_PICKUP_BLOCKS     4                 /* at most, each way */
#define SIM_DROPOFF_BLOCKS    6

#define SIM_CRUISE_MIN        1.2               /* m/s */
#define SIM_CRUISE_MAX        1.8
#define SIM_ACCELERATION      0.8               /* m/s^2 */

/* Percent a second. A trip and the way home take less than SIM_BATTERY_LOW. */
#define SIM_DRAIN_DRIVING     0.008
#define SIM_DRAIN_STANDING    0.001
#define SIM_CHARGE            0.06
#define SIM_BATTERY_LOW       25.0
#define SIM_BATTERY_FULL      95.0

/* Mean seconds between two of a kind. */
#define SIM_FAILURE_EVERY     1500.0
#define SIM_DEGRADED_EVERY    700.0
#define SIM_OFFLINE_EVERY     900.0

typedef struct {
    const char  *state;
    bool         drives;
    double       dwell_min, dwell_max;          /* seconds */
} sim_activity_t;

static void sim_robot_begin(sim_robot_t *robot, sim_activity_e activity);
static void sim_robot_turn(sim_robot_t *robot);
static void sim_robot_drive(sim_robot_t *robot, double seconds);
static void sim_robot_battery_step(sim_robot_t *robot, double seconds);
static void sim_robot_trouble_step(sim_robot_t *robot, double seconds);
static sim_activity_e sim_robot_next_activity(const sim_robot_t *robot);
static sim_node_t sim_robot_node_near(sim_robot_t *robot, int blocks);
static bool sim_robot_happens(sim_robot_t *robot, double seconds,
    double every);
static void sim_countdown(double *left, double seconds);

static const sim_activity_t  sim_activities[] = {
    [SIM_CHARGING]   = { "OFF_DUTY", false, 0, 0 },
    [SIM_TO_SPOT]    = { "DEPLOYED", true, 0, 0 },
    [SIM_WAITING]    = { "PARKED", false, 20, 120 },
    [SIM_TO_PICKUP]  = { "ON_TRIP", true, 0, 0 },
    [SIM_AT_PICKUP]  = { "ON_TRIP", false, 30, 90 },
    [SIM_TO_DROPOFF] = { "ON_TRIP", true, 0, 0 },
    [SIM_AT_DROPOFF] = { "ON_TRIP", false, 30, 60 },
    [SIM_TO_DEPOT]   = { "DEPLOYED", true, 0, 0 },
};

static const char *const  sim_components[] = {
    "cameras", "drivetrain", "gps", "imu", "lid", "modem"
};

#define SIM_COMPONENTS  \
    ((int) (sizeof(sim_components) / sizeof(sim_components[0])))

static const sim_node_t  sim_depot = { 0, 0 };


void
sim_robot_init(sim_robot_t *robot, const char *serial, uint64_t seed,
    uint64_t index)
{
    memset(robot, 0, sizeof(*robot));
    snprintf(robot->serial, sizeof(robot->serial), "%s", serial);
    sim_rng_seed(&robot->rng, seed, index);

    robot->next.x = sim_rng_pick(&robot->rng, -SIM_GRID, SIM_GRID);
    robot->next.y = sim_rng_pick(&robot->rng, -SIM_GRID, SIM_GRID);
    robot->cruise = sim_rng_between(&robot->rng, SIM_CRUISE_MIN,
                                    SIM_CRUISE_MAX);
    robot->accuracy = sim_rng_between(&robot->rng, 1.0, 2.5);
    robot->battery = sim_rng_between(&robot->rng, 35, 100);
    robot->software = sim_rng_pick(&robot->rng, 0, 4);
    robot->failed = -1;
    robot->degraded = -1;

    /* A fleet in the middle of its day, not all at the same point of it. */
    sim_robot_begin(robot, (sim_activity_e) sim_rng_pick(&robot->rng,
                                                         SIM_CHARGING,
                                                         SIM_TO_DEPOT));

    if (robot->activity == SIM_CHARGING) {
        robot->next = sim_depot;
    }

    robot->east = robot->next.x * SIM_BLOCK_EAST;
    robot->north = robot->next.y * SIM_BLOCK_NORTH;
}


void
sim_robot_step(sim_robot_t *robot, double seconds)
{
    const sim_activity_t  *activity;

    activity = &sim_activities[robot->activity];

    sim_robot_trouble_step(robot, seconds);

    if (robot->failed >= 0 || robot->held) {
        robot->speed = 0;

    } else if (activity->drives) {
        sim_robot_drive(robot, seconds);

    } else {
        robot->speed = 0;
        sim_countdown(&robot->dwell, seconds);

        if (robot->dwell == 0
            && (robot->activity != SIM_CHARGING
                || robot->battery >= SIM_BATTERY_FULL))
        {
            sim_robot_begin(robot, sim_robot_next_activity(robot));
        }
    }

    sim_robot_battery_step(robot, seconds);

    robot->accuracy += sim_rng_between(&robot->rng, -0.05, 0.05);
    robot->accuracy = fmin(fmax(robot->accuracy, 0.8), 3.5);
}


bool
sim_robot_online(const sim_robot_t *robot)
{
    return robot->offline_for == 0;
}


bool
sim_robot_stands(const sim_robot_t *robot)
{
    return robot->speed == 0 && robot->failed < 0
           && (robot->activity == SIM_WAITING
               || robot->activity == SIM_AT_PICKUP
               || robot->activity == SIM_AT_DROPOFF);
}


void
sim_robot_park(sim_robot_t *robot)
{
    robot->activity = SIM_WAITING;
    robot->dwell = INFINITY;
    robot->speed = 0;
}


const char *
sim_robot_state(const sim_robot_t *robot)
{
    return robot->failed >= 0 ? "GROUNDED"
                              : sim_activities[robot->activity].state;
}


size_t
sim_robot_encode(const sim_robot_t *robot, int64_t ts, char *buf, size_t size)
{
    int          i;
    size_t       len;
    double       latitude, longitude;
    const char  *health;

    latitude = SIM_CENTRE_LATITUDE + robot->north / SIM_METRES_A_DEGREE;
    longitude = SIM_CENTRE_LONGITUDE
                + robot->east / (SIM_METRES_A_DEGREE
                                 * cos(SIM_CENTRE_LATITUDE * M_PI / 180));

    len = (size_t) snprintf(buf, size,
        "{\"serial\":\"%s\",\"ts\":%lld,\"state\":\"%s\",\"healthy\":%s,"
        "\"battery\":{\"percent\":%.1f,\"charging\":%s,\"voltage\":%.2f},"
        "\"location\":{\"latitude\":%.7f,\"longitude\":%.7f,"
        "\"heading\":%.1f,\"speed\":%.2f,\"accuracy\":%.1f},\"components\":{",
        robot->serial, (long long) ts, sim_robot_state(robot),
        robot->failed >= 0 ? "false" : "true",
        robot->battery, robot->activity == SIM_CHARGING ? "true" : "false",
        21.0 + 8.4 * robot->battery / 100,
        latitude, longitude, robot->heading, robot->speed, robot->accuracy);

    for (i = 0; i < SIM_COMPONENTS; i++) {
        health = i == robot->failed ? "ERROR"
                 : i == robot->degraded ? "DEGRADED" : "OK";
        len += (size_t) snprintf(buf + len, size - len, "%s\"%s\":\"%s\"",
                                 i ? "," : "", sim_components[i], health);
    }

    len += (size_t) snprintf(buf + len, size - len,
        "},\"lid\":{\"open\":%s},\"software\":\"4.2.%d\"}",
        robot->lid_open ? "true" : "false", robot->software);

    return len;
}


static void
sim_robot_begin(sim_robot_t *robot, sim_activity_e activity)
{
    robot->activity = activity;
    robot->dwell = sim_rng_between(&robot->rng,
                                   sim_activities[activity].dwell_min,
                                   sim_activities[activity].dwell_max);

    switch (activity) {

    case SIM_TO_SPOT:
    case SIM_TO_PICKUP:
        robot->goal = sim_robot_node_near(robot, SIM_PICKUP_BLOCKS);
        break;

    case SIM_TO_DROPOFF:
        robot->goal = sim_robot_node_near(robot, SIM_DROPOFF_BLOCKS);
        break;

    case SIM_TO_DEPOT:
        robot->goal = sim_depot;
        break;

    default:
        robot->goal = robot->next;
        break;
    }
}


static sim_activity_e
sim_robot_next_activity(const sim_robot_t *robot)
{
    switch (robot->activity) {

    case SIM_TO_SPOT:
        return SIM_WAITING;

    case SIM_WAITING:
        return robot->battery < SIM_BATTERY_LOW ? SIM_TO_DEPOT : SIM_TO_PICKUP;

    case SIM_TO_PICKUP:
        return SIM_AT_PICKUP;

    case SIM_AT_PICKUP:
        return SIM_TO_DROPOFF;

    case SIM_TO_DROPOFF:
        return SIM_AT_DROPOFF;

    case SIM_TO_DEPOT:
        return SIM_CHARGING;

    default:                        /* SIM_CHARGING, SIM_AT_DROPOFF */
        return SIM_TO_SPOT;
    }
}


/* The way of one step, round corners too. What is reported as speed is the
 * way over the time, so that positions and speeds always agree. */

static void
sim_robot_drive(sim_robot_t *robot, double seconds)
{
    double  way, left, ahead_east, ahead_north, ahead, part;

    if (robot->red_light > 0) {
        sim_countdown(&robot->red_light, seconds);
        robot->speed = 0;
        return;
    }

    robot->speed = fmin(robot->speed + SIM_ACCELERATION * seconds,
                        robot->cruise);
    left = robot->speed * seconds;
    way = 0;

    for ( ;; ) {
        ahead_east = robot->next.x * SIM_BLOCK_EAST - robot->east;
        ahead_north = robot->next.y * SIM_BLOCK_NORTH - robot->north;
        ahead = fabs(ahead_east) + fabs(ahead_north);

        if (ahead > left) {
            part = left / ahead;
            robot->east += ahead_east * part;
            robot->north += ahead_north * part;
            way += left;
            break;
        }

        robot->east = robot->next.x * SIM_BLOCK_EAST;
        robot->north = robot->next.y * SIM_BLOCK_NORTH;
        way += ahead;
        left -= ahead;

        if (robot->next.x == robot->goal.x && robot->next.y == robot->goal.y) {
            sim_robot_begin(robot, sim_robot_next_activity(robot));
            break;
        }

        sim_robot_turn(robot);

        if (way > 0 && sim_rng_between(&robot->rng, 0, 1) < 0.25) {
            robot->red_light = sim_rng_between(&robot->rng, 5, 20);
            break;
        }
    }

    robot->speed = way / seconds;
}


/* At a crossing: takes one of the streets that lead nearer to the goal. */

static void
sim_robot_turn(sim_robot_t *robot)
{
    int   east, north;
    bool  along_east;

    east = robot->goal.x - robot->next.x;
    north = robot->goal.y - robot->next.y;
    along_east = north == 0 || (east != 0 && sim_rng_pick(&robot->rng, 0, 1));

    if (along_east) {
        robot->next.x += east > 0 ? 1 : -1;
        robot->heading = east > 0 ? 90 : 270;

    } else {
        robot->next.y += north > 0 ? 1 : -1;
        robot->heading = north > 0 ? 0 : 180;
    }
}


static void
sim_robot_battery_step(sim_robot_t *robot, double seconds)
{
    double  rate;

    rate = robot->activity == SIM_CHARGING ? SIM_CHARGE
           : robot->speed > 0 ? -SIM_DRAIN_DRIVING : -SIM_DRAIN_STANDING;

    robot->battery = fmin(fmax(robot->battery + rate * seconds, 1), 100);
}


/* Component faults come and go, and so does the network. A failure is one of
 * driving: a robot at rest does not break. */

static void
sim_robot_trouble_step(sim_robot_t *robot, double seconds)
{
    sim_countdown(&robot->failed_for, seconds);
    sim_countdown(&robot->degraded_for, seconds);
    sim_countdown(&robot->offline_for, seconds);

    if (robot->failed_for == 0) {
        robot->failed = -1;

        if (robot->speed > 0
            && sim_robot_happens(robot, seconds, SIM_FAILURE_EVERY))
        {
            robot->failed = sim_rng_pick(&robot->rng, 0, SIM_COMPONENTS - 1);
            robot->failed_for = sim_rng_between(&robot->rng, 30, 150);
        }
    }

    if (robot->degraded_for == 0) {
        robot->degraded = -1;

        if (sim_robot_happens(robot, seconds, SIM_DEGRADED_EVERY)) {
            robot->degraded = sim_rng_pick(&robot->rng, 0, SIM_COMPONENTS - 1);
            robot->degraded_for = sim_rng_between(&robot->rng, 20, 120);
        }
    }

    if (robot->offline_for == 0
        && sim_robot_happens(robot, seconds, SIM_OFFLINE_EVERY))
    {
        robot->offline_for = sim_rng_between(&robot->rng, 5, 45);
    }
}


static sim_node_t
sim_robot_node_near(sim_robot_t *robot, int blocks)
{
    sim_node_t  node;

    node.x = robot->next.x + sim_rng_pick(&robot->rng, -blocks, blocks);
    node.y = robot->next.y + sim_rng_pick(&robot->rng, -blocks, blocks);

    node.x = (int) fmin(fmax(node.x, -SIM_GRID), SIM_GRID);
    node.y = (int) fmin(fmax(node.y, -SIM_GRID), SIM_GRID);

    return node;
}


static bool
sim_robot_happens(sim_robot_t *robot, double seconds, double every)
{
    return sim_rng_between(&robot->rng, 0, every) < seconds;
}


static void
sim_countdown(double *left, double seconds)
{
    *left = fmax(*left - seconds, 0);
}
