/*
 * One connection to RabbitMQ, of a publisher or a consumer: logged in, with a
 * channel, and everything declared. librabbitmq blocks and services
 * heartbeats only inside its calls; a guard thread keeps the connection alive
 * while its owner is elsewhere, and cuts a call that takes too long or that a
 * stop finds under way.
 */

#ifndef COCO_BUS_AMQP_H
#define COCO_BUS_AMQP_H

#include <amqp.h>
#include <amqp_framing.h>

#include "config.h"
#include "sinks/retry.h"

#define COCO_AMQP_CHANNEL  1

typedef struct coco_amqp_s  coco_amqp_t;

/* Takes a frame that came, by the owner's thread or the guard's, between
 * begin and end. COCO_ERROR after coco_amqp_fail(). */
typedef int (*coco_amqp_frame_pt)(void *data, const amqp_frame_t *frame);

/* role ends the connection's name, which RabbitMQ shows: "publisher". Starts
 * the guard; connects to nothing yet. NULL: no memory, or no thread. */
coco_amqp_t *coco_amqp_create(const coco_config_t *config, const char *role,
    coco_stop_t *stop, coco_amqp_frame_pt frame, void *data);
void coco_amqp_destroy(coco_amqp_t *a);

/* Around every use of the connection by its owner; the guard holds it between
 * an end and a begin. */
void coco_amqp_begin(coco_amqp_t *a);
void coco_amqp_end(coco_amqp_t *a);

/* Everything below is called between begin and end. */

/* Connects, declares and binds, unless that is so already. COCO_ERROR:
 * coco_amqp_error() says why. */
int coco_amqp_open(coco_amqp_t *a);
void coco_amqp_close(coco_amqp_t *a);

/* NULL: not connected. */
amqp_connection_state_t coco_amqp_connection(coco_amqp_t *a);

/* How often it has been connected: another number, another connection. */
unsigned coco_amqp_generation(const coco_amqp_t *a);

/* The calls from now on may take bus.timeout. */
void coco_amqp_arm(coco_amqp_t *a);

/* Takes the frames that are there, waiting timeout_ms (at most) for the first.
 * Wakes for extra_fd, too (-1: none). COCO_ERROR: the connection is closed. */
int coco_amqp_frames(coco_amqp_t *a, unsigned timeout_ms, int extra_fd);

/* A heartbeat, when one is due, without reading anything. COCO_ERROR: the
 * connection is closed. */
int coco_amqp_beat(coco_amqp_t *a);

/* Closes the connection; the error is the text. Always COCO_ERROR. */
int coco_amqp_fail(coco_amqp_t *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same when the last call that awaits an answer (a declaration, consume)
 * was refused; the error is the broker's text behind what. */
int coco_amqp_answered(coco_amqp_t *a, const char *what);
/* The same when status is none of librabbitmq's good ones. */
int coco_amqp_check(coco_amqp_t *a, int status, const char *what);

/* Is it an alarm of the broker (memory, disk) that holds publishers up? */
bool coco_amqp_blocked(const coco_amqp_t *a);

const char *coco_amqp_error(const coco_amqp_t *a);

amqp_bytes_t coco_amqp_bytes(coco_str_t s);

#endif /* COCO_BUS_AMQP_H */
