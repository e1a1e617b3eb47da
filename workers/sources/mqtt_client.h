/*
 * One paho client: how it is made from the configuration, and what it reports
 * in one form for MQTT 3.1.1 and 5. No retries, no state of the session.
 */

#ifndef COCO_SOURCE_MQTT_CLIENT_H
#define COCO_SOURCE_MQTT_CLIENT_H

#include "config.h"

typedef struct coco_mqtt_client_s  coco_mqtt_client_t;

typedef enum { COCO_MQTT_5 = 0, COCO_MQTT_3_1_1 } coco_mqtt_version_e;

typedef enum {
    COCO_MQTT_CONNECTED = 0,     /* value: whether the session was there */
    COCO_MQTT_SUBSCRIBED,        /* at QoS 1 */
    COCO_MQTT_UNSUBSCRIBED,
    COCO_MQTT_LEFT,              /* the disconnect that was asked for */
    COCO_MQTT_FAILED,            /* what was asked for; text says why */
    COCO_MQTT_LOST               /* the connection; text says why */
} coco_mqtt_event_e;

/* Both are called by paho's one receive thread, which holds its lock: they
 * must neither wait nor call anything below. */
typedef struct {
    void (*event)(void *data, coco_mqtt_event_e event, int value,
        const char *text);
    /* The acknowledgement leaves when this has returned. */
    void (*message)(void *data, coco_str_t topic, coco_str_t payload);
    void  *data;
} coco_mqtt_handlers_t;

/* config outlives the client, client_id does not need to. NULL when there is
 * no memory. */
coco_mqtt_client_t *coco_mqtt_client_create(const coco_config_t *config,
    const char *client_id, const coco_mqtt_handlers_t *handlers);

/* Each ends in an event. COCO_ERROR when it could not even begin; *ret_text
 * (static) says why. */
int coco_mqtt_connect(coco_mqtt_client_t *c, const char **ret_text);
int coco_mqtt_subscribe(coco_mqtt_client_t *c, const char *filter,
    const char **ret_text);
int coco_mqtt_unsubscribe(coco_mqtt_client_t *c, const char *filter,
    const char **ret_text);
/* The broker keeps the session. */
int coco_mqtt_leave(coco_mqtt_client_t *c, const char **ret_text);

void coco_mqtt_client_destroy(coco_mqtt_client_t *c);

#endif /* COCO_SOURCE_MQTT_CLIENT_H */
