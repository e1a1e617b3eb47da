/*
 * What a fleet and a script share: one epoll for all descriptors, signals as
 * events, and the closing line.
 */

#ifndef COCO_SIM_LOOP_H
#define COCO_SIM_LOOP_H

#include <stdbool.h>

#include "client.h"

typedef struct {
    int           epoll;
    int           signals;          /* signalfd of SIGINT and SIGTERM */
    bool          stop;             /* one of them came */
    sim_counts_t  counts;
} sim_loop_t;

/* Blocks SIGINT and SIGTERM for good. -1: errno was reported. */
int sim_loop_open(sim_loop_t *loop);
void sim_loop_close(sim_loop_t *loop);

/* Waits for events at most `timeout` ms and lets their sources handle them. */
void sim_loop_wait(sim_loop_t *loop, int64_t timeout);

/* The closing line, on standard output, and the exit status: a failure when
 * anything was dropped or not acknowledged. */
int sim_loop_report(const sim_loop_t *loop);

#endif /* COCO_SIM_LOOP_H */
