/*
 * The model of one robot: where it drives, what it carries out, how its
 * battery and its components fare. Pure: no clock, no I/O, no globals; the
 * same seed and steps give the same heartbeats, byte for byte.
 */

#ifndef COCO_SIM_ROBOT_H
#define COCO_SIM_ROBOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"

#define SIM_SERIAL_MAX     64
#define SIM_HEARTBEAT_MAX  768      /* bytes; the longest is about 450 */

/* What a robot is about; the heartbeat's state follows from it, except that
 * a robot with a component in ERROR is GROUNDED whatever it was about. */
typedef enum {
    SIM_CHARGING = 0,               /* at the depot, until nearly full */
    SIM_TO_SPOT,                    /* to a corner where it waits for work */
    SIM_WAITING,
    SIM_TO_PICKUP,
    SIM_AT_PICKUP,
    SIM_TO_DROPOFF,
    SIM_AT_DROPOFF,
    SIM_TO_DEPOT
} sim_activity_e;

typedef struct {
    int  x, y;                      /* a crossing of the street grid */
} sim_node_t;

typedef struct {
    char            serial[SIM_SERIAL_MAX + 1];
    sim_rng_t       rng;

    sim_activity_e  activity;
    double          dwell;          /* seconds left where it stands */

    double          east, north;    /* metres from the city's centre */
    sim_node_t      next, goal;     /* the crossing ahead, and the last one */
    double          heading;        /* degrees from north, clockwise */
    double          speed, cruise;  /* m/s; speed = way of this step / time */
    double          accuracy;       /* metres */
    double          red_light;      /* seconds left at a crossing */

    double          battery;        /* percent */
    int             failed;         /* component in ERROR, or -1 */
    double          failed_for;     /* seconds left */
    int             degraded;       /* component DEGRADED, or -1 */
    double          degraded_for;   /* seconds left */
    double          offline_for;    /* seconds left without a network */
    int             software;       /* patch level */

    /* Told from outside; both false at first. */
    bool            held;           /* stays where it is, whatever is due */
    bool            lid_open;
} sim_robot_t;

/* serial: at most SIM_SERIAL_MAX characters, copied. Robots of one fleet
 * share the seed and differ by index. */
void sim_robot_init(sim_robot_t *robot, const char *serial, uint64_t seed,
    uint64_t index);

/* Lets `seconds` pass. */
void sim_robot_step(sim_robot_t *robot, double seconds);

/* Has it a network? Without one it keeps its heartbeats for later. */
bool sim_robot_online(const sim_robot_t *robot);

/* Does it stand where people load and unload it? */
bool sim_robot_stands(const sim_robot_t *robot);

/* Stays where it begins, for ever, as one that waits for work. */
void sim_robot_park(sim_robot_t *robot);

/* The name of the state that it reports. */
const char *sim_robot_state(const sim_robot_t *robot);

/* Writes its heartbeat as of ts (ms since the epoch), NUL-terminated, and
 * returns the length; size is at least SIM_HEARTBEAT_MAX. */
size_t sim_robot_encode(const sim_robot_t *robot, int64_t ts, char *buf,
    size_t size);

#endif /* COCO_SIM_ROBOT_H */
