/*
 * Log lines on stderr, as key=value or JSON, with the time, the level and an
 * event name. Never credentials, never PINs, never whole payloads.
 */

#ifndef COCO_LOG_H
#define COCO_LOG_H

#include "coco_core.h"

typedef enum {
    COCO_LOG_ERROR = 0, COCO_LOG_WARN, COCO_LOG_INFO, COCO_LOG_DEBUG
} coco_log_level_e;

typedef enum { COCO_LOG_TEXT = 0, COCO_LOG_JSON } coco_log_format_e;

void coco_log_init(coco_log_level_e level, coco_log_format_e format);
void coco_log_level_set(coco_log_level_e level);
coco_log_level_e coco_log_level(void);

/* event: "postgres_connected". Then pairs, closed by NULL:
 *     coco_log(COCO_LOG_INFO, "mqtt_connected", "client", "%s", id,
 *              "session", "%d", present, NULL);
 * each pair is a key, a printf format for one value, and that value. */
void coco_log(coco_log_level_e level, const char *event, ...);

#endif /* COCO_LOG_H */
