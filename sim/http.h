/*
 * The phones of those who scan a robot's code: they ask the backend, over
 * HTTP, to open its lid for a delivery.
 */

#ifndef COCO_SIM_HTTP_H
#define COCO_SIM_HTTP_H

#include <stdbool.h>

#include "options.h"

typedef struct sim_http_s  sim_http_t;

/* The options' http, token_file and delivery. NULL: standard error says
 * why. */
sim_http_t *sim_http_open(const sim_options_t *options, int epoll);

/* The delivery is the options', or the one that waits for this robot at a
 * pickup. done is called once, from the loop, never from here: did the
 * backend say that the lid is open? -1: out of memory, it will not be
 * called. */
int sim_http_scan(sim_http_t *http, const char *serial,
    void (*done)(void *data, bool opened), void *data);

/* What is under way ends unanswered. */
void sim_http_close(sim_http_t *http);

#endif /* COCO_SIM_HTTP_H */
