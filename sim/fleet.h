/*
 * A fleet of simulated robots over real connections.
 */

#ifndef COCO_SIM_FLEET_H
#define COCO_SIM_FLEET_H

#include "loop.h"

/* Runs until its time is over, its burst is sent, or a signal comes; then
 * waits, within bounds, for what is still unacknowledged. Returns the exit
 * status. */
int sim_fleet_run(sim_loop_t *loop, const sim_options_t *options);

#endif /* COCO_SIM_FLEET_H */
