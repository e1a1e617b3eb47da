/*
 * Counters, gauges and histograms, declared once in metrics.c's table, shown
 * in Prometheus' text format. Updates are relaxed atomics: any thread.
 */

#ifndef COCO_METRICS_H
#define COCO_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* In metrics.c's table: name, help, type, label of each. Lane-labelled ones
 * have one cell per lane; what is of a partner uses the first ones. */
typedef enum {
    COCO_M_RECEIVED = 0,        /* coco_messages_received_total{lane} */
    COCO_M_COMMITTED,           /* coco_messages_committed_total{lane} */
    COCO_M_DUPLICATES,          /* coco_messages_duplicate_total{lane} */
    COCO_M_STALE,               /* coco_messages_stale_total{lane} */
    COCO_M_DEAD_LETTERS,        /* coco_dead_letters_total{lane} */
    COCO_M_UNKNOWN_EVENTS,      /* coco_robot_events_unknown_total{lane} */
    COCO_M_BATCHES,             /* coco_batches_total{lane} */
    COCO_M_BATCH_RETRIES,       /* coco_batch_retries_total{lane} */
    COCO_M_REDIS_ERRORS,        /* coco_redis_errors_total{lane} */
    COCO_M_RECONNECTS,          /* coco_mqtt_reconnects_total{lane} */
    COCO_M_JOURNAL_CORRUPT,     /* coco_journal_corrupt_total{lane} */
    COCO_M_SQS_DELETED,         /* coco_sqs_deleted_total{lane} */
    COCO_M_SQS_ERRORS,          /* coco_sqs_errors_total{lane} answers that
                                   were errors, Failed[] entries too */
    COCO_M_SQS_EXTENDED,        /* coco_sqs_extended_total{lane} visibility */
    COCO_M_BUS_PUBLISHED,       /* coco_bus_published_total{lane} confirmed */
    COCO_M_BUS_ERRORS,          /* coco_bus_errors_total{lane} losses, nacks */
    COCO_M_BUS_UNROUTABLE,      /* coco_bus_unroutable_total{lane} */
    COCO_M_RELAYED,             /* coco_outbox_relayed_total{lane} */
    COCO_M_LID_CYCLES,          /* coco_lid_cycles_total{lane} completed */
    COCO_M_ANOMALIES,           /* coco_anomalies_total{lane} */
    COCO_M_DELIVERY_EVENTS,     /* coco_delivery_events_total{lane} */
    COCO_M_COMMANDS_SENT,       /* coco_commands_sent_total{lane} repeats too */
    COCO_M_COMMANDS_ENDED,      /* coco_commands_ended_total{lane} outcomes */
    COCO_M_SHADOWS_SENT,        /* coco_shadows_sent_total{lane} */
    COCO_M_MDS_FACTS,           /* coco_mds_facts_total{lane} */
    COCO_M_MDS_EVENTS,          /* coco_mds_events_total{lane} */
    COCO_M_ORDERS_CREATED,      /* coco_orders_total{outcome,lane} */
    COCO_M_ORDERS_CHANGED,
    COCO_M_ORDERS_CANCELED,
    COCO_M_ORDERS_NOTHING,
    COCO_M_ORDERS_REFUSED,

    /* of these the lane is a coco_partner_e */
    COCO_M_PUSH_DELIVERED,      /* coco_pushes_delivered_total{partner} */
    COCO_M_PUSH_REFUSED,        /* coco_pushes_refused_total{partner} */
    COCO_M_PUSH_RETRIES,        /* coco_push_retries_total{partner} */
    COCO_M_PUSH_SKIPPED,        /* coco_pushes_skipped_total{partner} */
    COCO_M_PUSH_POSITIONS,      /* coco_positions_pushed_total{partner} */
    COCO_M_PUSH_FAILED,         /* coco_positions_failed_total{partner} */
    COCO_M_COUNTERS
} coco_counter_e;

typedef enum {
    COCO_G_JOURNAL_BYTES = 0,   /* coco_journal_bytes{lane} */
    COCO_G_JOURNAL_FULL,        /* coco_journal_full{lane} 0 or 1 */
    COCO_G_JOURNAL_STALLED,     /* coco_journal_stalled_seconds{lane} */
    COCO_G_MQTT_CONNECTED,      /* coco_mqtt_connected{lane} */
    COCO_G_POSTGRES_CONNECTED,  /* coco_postgres_connected{lane} shards up */
    COCO_G_REDIS_CONNECTED,     /* coco_redis_connected{lane} shards up */
    COCO_G_REDIS_OWED,          /* coco_redis_owed{lane} robots */
    COCO_G_SQS_IN_FLIGHT,       /* coco_sqs_in_flight{lane} */
    COCO_G_BUS_CONNECTED,       /* coco_bus_connected{lane} */
    COCO_G_WEBHOOKS_WAITING,    /* coco_webhooks_waiting{lane} unmapped */
    COCO_G_OUTBOX_PENDING,      /* coco_outbox_pending{lane} */
    COCO_G_COMMANDS_CONNECTED,  /* coco_commands_connected{lane} */
    COCO_G_MDS_LAG,             /* coco_mds_lag_seconds{lane} */
    COCO_G_MDS_WAITING,         /* coco_mds_facts_waiting{lane} */
    COCO_G_MDS_OLDEST,          /* coco_mds_facts_oldest_seconds{lane} */
    COCO_G_PUSH_WAITING,        /* coco_partner_pushes_waiting{partner} */
    COCO_G_PUSH_OLDEST,         /* coco_partner_pushes_oldest_seconds{partner}
                                   */
    COCO_G_PUSH_LEFT_ALONE,     /* coco_partner_left_alone{partner} 0 or 1 */
    COCO_M_GAUGES
} coco_gauge_e;

typedef enum {
    COCO_H_BATCH_SIZE = 0,      /* coco_batch_messages{lane} */
    COCO_H_BATCH_SECONDS,       /* coco_batch_seconds{lane} push to commit */
    COCO_H_LAG_SECONDS,         /* coco_lag_seconds{lane} ts to commit */
    COCO_H_PARTNER_SECONDS,     /* coco_partner_seconds{partner} of a call */
    COCO_M_HISTOGRAMS
} coco_histogram_e;

typedef enum {
    COCO_LANE_TELEMETRY = 0,
    COCO_LANE_EVENTS,
    COCO_LANE_WEBHOOKS,
    COCO_LANE_BUS,              /* the relay's numbers, too */
    COCO_LANES
} coco_lane_id_e;

void coco_metrics_add(coco_counter_e c, coco_lane_id_e lane, uint64_t n);
void coco_metrics_set(coco_gauge_e g, coco_lane_id_e lane, int64_t value);
void coco_metrics_shift(coco_gauge_e g, coco_lane_id_e lane, int64_t by);
int64_t coco_metrics_gauge_get(coco_gauge_e g, coco_lane_id_e lane);
void coco_metrics_observe(coco_histogram_e h, coco_lane_id_e lane,
    double value);

/* Malloc'ed text in Prometheus' exposition format, caller frees. */
char *coco_metrics_encode(size_t *ret_len);

#endif /* COCO_METRICS_H */
