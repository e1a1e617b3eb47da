/*
 * Recorded messages, replayed over one connection.
 */

#ifndef COCO_SIM_SCRIPT_H
#define COCO_SIM_SCRIPT_H

#include "loop.h"

typedef struct {
    char    *topic;         /* owned */
    char    *payload;       /* owned, NUL-terminated, may hold NULs */
    size_t   len;
    double   after_ms;      /* since the line before */
} sim_line_t;

/* {"topic":TEXT,"payload":VALUE,"afterMs":NUMBER?}; other members are passed
 * over. A payload that is a text is sent as what it says; any other value as
 * it is written, byte for byte, whatever is wrong with it inside. line[len]
 * is NUL. Returns NULL, or what is wrong with the line. */
const char *sim_line_decode(sim_line_t *ret, const char *line, size_t len);
void sim_line_destroy(sim_line_t *line);

/* Replays the options' script and waits for every acknowledgement. Returns
 * the exit status. */
int sim_script_run(sim_loop_t *loop, const sim_options_t *options);

#endif /* COCO_SIM_SCRIPT_H */
