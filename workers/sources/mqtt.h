/*
 * One MQTT session: what the broker delivers is kept in a journal before it
 * is acknowledged, and pushed into a lane from there.
 */

#ifndef COCO_SOURCE_MQTT_H
#define COCO_SOURCE_MQTT_H

#include "config.h"
#include "lane.h"
#include "metrics.h"

typedef struct coco_source_mqtt_s  coco_source_mqtt_t;

/* All of it outlives the source. */
typedef struct {
    const coco_config_t  *config;
    const char           *name;      /* ends the client id and names the
                                        journal's folder: "telemetry" */
    const char           *filter;    /* + stands for the serial */
    coco_kind_e           kind;
    coco_lane_id_e        metrics_lane;
    coco_lane_t          *lane;
} coco_source_mqtt_options_t;

typedef struct {
    bool      alive;                 /* its thread goes round */
    bool      connected;             /* and subscribed */
    bool      full;                  /* left the broker until it drains */
    uint64_t  journal_bytes;
    uint64_t  stalled;               /* s, as coco_journal_stalled() */
} coco_source_mqtt_status_t;

/* Opens the journal. COCO_ERROR with a message that says what to do. */
int coco_source_mqtt_open(coco_source_mqtt_t **ret,
    const coco_source_mqtt_options_t *options, char *error,
    size_t error_size);

/* Starts connecting, and feeding the lane (which runs already) with what the
 * journal holds. */
int coco_source_mqtt_start(coco_source_mqtt_t *s);

/* Leaves the broker, which keeps the session, and stops feeding the lane. */
void coco_source_mqtt_stop(coco_source_mqtt_t *s);

/* After coco_source_mqtt_stop() and coco_lane_stop(): moves the offset to
 * what the lane has committed, and closes the journal. */
void coco_source_mqtt_close(coco_source_mqtt_t *s);

/* Also sets the gauges of the lane. Any thread, between open and stop. */
void coco_source_mqtt_status(coco_source_mqtt_t *s,
    coco_source_mqtt_status_t *ret);

#endif /* COCO_SOURCE_MQTT_H */
