/*
 * A connection to the broker that only publishes, served by the thread that
 * owns it: a message is on the wire when the call returns. It shares nothing
 * with what receives, whose lock is held while telemetry goes into a journal.
 * One attempt, one session: nothing is sent again by itself.
 */

#ifndef COCO_PUBLISHER_H
#define COCO_PUBLISHER_H

#include <poll.h>

#include "config.h"

#define COCO_PUBLISHER_WINDOW  256         /* in flight at most */

typedef struct coco_publisher_s  coco_publisher_t;

typedef enum {
    COCO_PUBLISHER_TAKEN = 0,    /* the broker has it */
    COCO_PUBLISHER_REFUSED,      /* text says why */
    COCO_PUBLISHER_LOST          /* the connection, before the answer */
} coco_publisher_end_e;

/* All of it outlives the publisher. */
typedef struct {
    const coco_config_t  *config;
    const char           *name;      /* ends the client id */
    /* Once for each message that was sent, in coco_publisher_serve() or
     * coco_publisher_destroy(); must call nothing of the publisher's. */
    void                (*done)(void *data, unsigned tag,
                                coco_publisher_end_e end, const char *text);
    void                 *data;
} coco_publisher_options_t;

/* NULL when there is no memory. */
coco_publisher_t *coco_publisher_create(
    const coco_publisher_options_t *options);
/* Takes leave of the broker. */
void coco_publisher_destroy(coco_publisher_t *p);

/* What to wait for (fd -1: nothing), and for how many ms at most. */
unsigned coco_publisher_poll(coco_publisher_t *p, struct pollfd *ret);
/* Does what is due: connects, reads what the broker says, keeps alive. */
void coco_publisher_serve(coco_publisher_t *p, short revents);

bool coco_publisher_up(const coco_publisher_t *p);
/* How many may be sent now; 0 while not connected. */
unsigned coco_publisher_room(const coco_publisher_t *p);

/* QoS 1, not retained. expiry: seconds after which the broker, if it speaks
 * MQTT 5, delivers it no more; 0: none. COCO_ERROR: it was not sent, and
 * there will be no done. */
int coco_publisher_send(coco_publisher_t *p, const char *topic,
    coco_str_t payload, unsigned expiry, unsigned tag);

#endif /* COCO_PUBLISHER_H */
