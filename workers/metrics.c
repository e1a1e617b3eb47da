/*
 * The worker's metrics: one table that declares them, cells that any thread
 * may update, and their text in Prometheus' exposition format. Must never
 * take a lock on the way of a message.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "coco_order.h"
#include "metrics.h"

#define COCO_METRICS_BOUNDS  14

#define COCO_METRICS_ORDERS  "coco_orders_total",                             \
    "Webhooks of partners by what they made of their orders."


/* Those that share a name are neighbours. */
typedef struct {
    const char  *name;
    const char  *help;
    const char  *label;    /* before the lane's, with a comma; NULL: none */
    bool         partner;  /* of a partner, not of a lane */
} coco_metrics_entry_t;

typedef struct {
    const char  *name;
    const char  *help;
    double       bounds[COCO_METRICS_BOUNDS];   /* ascending, upper, 0 ends */
    bool         partner;
} coco_metrics_histogram_t;

/* What cells are of. */
typedef struct {
    const char  *name;
    int          count;
    const char  *values[COCO_LANES];
} coco_metrics_cells_t;

/* A bucket counts what fell between its bound and the one before; the last
 * one what is above all bounds. */
typedef struct {
    _Atomic uint64_t  buckets[COCO_METRICS_BOUNDS + 1];
    _Atomic double    sum;
} coco_metrics_cell_t;


static void coco_metrics_counters_encode(FILE *out);
static void coco_metrics_head(FILE *out, const char *name, const char *help,
    const char *type);
static void coco_metrics_histogram_encode(FILE *out,
    const coco_metrics_histogram_t *h, coco_metrics_cell_t *cells);
static void coco_metrics_process_encode(FILE *out);


/* Indexed by `partner`. */
static const coco_metrics_cells_t  coco_metrics_cells[] = {
    { "lane", COCO_LANES, {
        [COCO_LANE_TELEMETRY] = "telemetry",
        [COCO_LANE_EVENTS] = "events",
        [COCO_LANE_WEBHOOKS] = "webhooks",
        [COCO_LANE_BUS] = "bus",
    } },
    { "partner", COCO_PARTNERS, {
        [COCO_PARTNER_UBER] = "uber",
        [COCO_PARTNER_DOORDASH] = "doordash",
    } },
};

static const coco_metrics_entry_t  coco_metrics_counters[COCO_M_COUNTERS] = {
    [COCO_M_RECEIVED] = { "coco_messages_received_total",
        "Messages taken from a source." },
    [COCO_M_COMMITTED] = { "coco_messages_committed_total",
        "Messages whose effects are committed, each once." },
    [COCO_M_DUPLICATES] = { "coco_messages_duplicate_total",
        "Messages that had been committed before." },
    [COCO_M_STALE] = { "coco_messages_stale_total",
        "Messages older than the state they found." },
    [COCO_M_DEAD_LETTERS] = { "coco_dead_letters_total",
        "Messages refused and set aside." },
    [COCO_M_UNKNOWN_EVENTS] = { "coco_robot_events_unknown_total",
        "Robot events of a type that no service knows." },
    [COCO_M_BATCHES] = { "coco_batches_total",
        "Batches committed." },
    [COCO_M_BATCH_RETRIES] = { "coco_batch_retries_total",
        "Batches that had to be tried again." },
    [COCO_M_REDIS_ERRORS] = { "coco_redis_errors_total",
        "Pipelines that Redis did not take." },
    [COCO_M_RECONNECTS] = { "coco_mqtt_reconnects_total",
        "Connections to the broker after the first." },
    [COCO_M_JOURNAL_CORRUPT] = { "coco_journal_corrupt_total",
        "Places in the journal that could not be read." },
    [COCO_M_SQS_DELETED] = { "coco_sqs_deleted_total",
        "Messages of SQS deleted after their commit." },
    [COCO_M_SQS_ERRORS] = { "coco_sqs_errors_total",
        "Requests to SQS, and entries of them, that failed." },
    [COCO_M_SQS_EXTENDED] = { "coco_sqs_extended_total",
        "Messages of SQS whose visibility was extended." },
    [COCO_M_BUS_PUBLISHED] = { "coco_bus_published_total",
        "Events that the bus has confirmed." },
    [COCO_M_BUS_ERRORS] = { "coco_bus_errors_total",
        "Losses of the bus, and events that it refused." },
    [COCO_M_BUS_UNROUTABLE] = { "coco_bus_unroutable_total",
        "Events that no queue was bound for." },
    [COCO_M_RELAYED] = { "coco_outbox_relayed_total",
        "Rows of the outbox that were relayed." },
    [COCO_M_LID_CYCLES] = { "coco_lid_cycles_total",
        "Lid cycles that were completed." },
    [COCO_M_ANOMALIES] = { "coco_anomalies_total",
        "Anomalies of lids and deliveries." },
    [COCO_M_DELIVERY_EVENTS] = { "coco_delivery_events_total",
        "Changes of deliveries that messages have caused." },
    [COCO_M_COMMANDS_SENT] = { "coco_commands_sent_total",
        "Commands published to robots, repeats included." },
    [COCO_M_COMMANDS_ENDED] = { "coco_commands_ended_total",
        "Commands that were answered or have expired." },
    [COCO_M_SHADOWS_SENT] = { "coco_shadows_sent_total",
        "Shadow updates published to robots." },
    [COCO_M_MDS_FACTS] = { "coco_mds_facts_total",
        "Facts of robots that MDS has taken." },
    [COCO_M_MDS_EVENTS] = { "coco_mds_events_total",
        "Events that MDS was told of." },
    [COCO_M_ORDERS_CREATED] = { COCO_METRICS_ORDERS, "outcome=\"created\"," },
    [COCO_M_ORDERS_CHANGED] = { COCO_METRICS_ORDERS, "outcome=\"changed\"," },
    [COCO_M_ORDERS_CANCELED] = { COCO_METRICS_ORDERS,
        "outcome=\"canceled\"," },
    [COCO_M_ORDERS_NOTHING] = { COCO_METRICS_ORDERS, "outcome=\"nothing\"," },
    [COCO_M_ORDERS_REFUSED] = { COCO_METRICS_ORDERS, "outcome=\"refused\"," },
    [COCO_M_PUSH_DELIVERED] = { "coco_pushes_delivered_total",
        "Statuses of deliveries that their partner has taken.", NULL, true },
    [COCO_M_PUSH_REFUSED] = { "coco_pushes_refused_total",
        "Statuses and positions that a partner has refused.",
        NULL, true },
    [COCO_M_PUSH_RETRIES] = { "coco_push_retries_total",
        "Calls with a status that failed and are made again.", NULL, true },
    [COCO_M_PUSH_SKIPPED] = { "coco_pushes_skipped_total",
        "Statuses that a partner is not told.", NULL, true },
    [COCO_M_PUSH_POSITIONS] = { "coco_positions_pushed_total",
        "Positions that a partner has taken.", NULL, true },
    [COCO_M_PUSH_FAILED] = { "coco_positions_failed_total",
        "Positions that did not arrive, or may not have.", NULL, true },
};

static const coco_metrics_entry_t  coco_metrics_gauges[COCO_M_GAUGES] = {
    [COCO_G_JOURNAL_BYTES] = { "coco_journal_bytes",
        "Bytes acknowledged and not yet committed." },
    [COCO_G_JOURNAL_FULL] = { "coco_journal_full",
        "Whether the journal is over its high-water mark." },
    [COCO_G_JOURNAL_STALLED] = { "coco_journal_stalled_seconds",
        "Time since the last commit while the journal holds something." },
    [COCO_G_MQTT_CONNECTED] = { "coco_mqtt_connected",
        "Whether the session with the broker is up and subscribed." },
    [COCO_G_POSTGRES_CONNECTED] = { "coco_postgres_connected",
        "Shards connected to Postgres." },
    [COCO_G_REDIS_CONNECTED] = { "coco_redis_connected",
        "Shards connected to Redis." },
    [COCO_G_REDIS_OWED] = { "coco_redis_owed",
        "Robots whose old copies in Redis wait to be removed." },
    [COCO_G_SQS_IN_FLIGHT] = { "coco_sqs_in_flight",
        "Messages of SQS received and not yet deleted." },
    [COCO_G_BUS_CONNECTED] = { "coco_bus_connected",
        "Connections of the bus that are up." },
    [COCO_G_WEBHOOKS_WAITING] = { "coco_webhooks_waiting",
        "Webhooks about vehicles that no mapping knows." },
    [COCO_G_OUTBOX_PENDING] = { "coco_outbox_pending",
        "Rows of the outbox that no bus has confirmed." },
    [COCO_G_COMMANDS_CONNECTED] = { "coco_commands_connected",
        "Whether the connection that commands leave by is up." },
    [COCO_G_MDS_LAG] = { "coco_mds_lag_seconds",
        "How long ago MDS was complete, by the worker that emits." },
    [COCO_G_MDS_WAITING] = { "coco_mds_facts_waiting",
        "Facts that no emitter has taken." },
    [COCO_G_MDS_OLDEST] = { "coco_mds_facts_oldest_seconds",
        "How long ago the first of them was." },
    [COCO_G_PUSH_WAITING] = { "coco_partner_pushes_waiting",
        "Deliveries that have a status to be told.", NULL, true },
    [COCO_G_PUSH_OLDEST] = { "coco_partner_pushes_oldest_seconds",
        "How long ago the first of these statuses was.", NULL, true },
    [COCO_G_PUSH_LEFT_ALONE] = { "coco_partner_left_alone",
        "Whether a partner has only failed, and is called but to see.",
        NULL, true },
};

static const coco_metrics_histogram_t
    coco_metrics_histograms[COCO_M_HISTOGRAMS] =
{
    [COCO_H_BATCH_SIZE] = { "coco_batch_messages",
        "Messages in a batch.",
        { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000 } },
    [COCO_H_BATCH_SECONDS] = { "coco_batch_seconds",
        "Seconds from the first message of a batch to its commit.",
        { .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30 } },
    [COCO_H_LAG_SECONDS] = { "coco_lag_seconds",
        "Seconds from the device's time to the commit.",
        { .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 30, 300, 3600, 86400 } },
    [COCO_H_PARTNER_SECONDS] = { "coco_partner_seconds",
        "Seconds that a call to a partner took.",
        { .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60 }, true },
};

static _Atomic uint64_t     coco_metrics_count[COCO_M_COUNTERS][COCO_LANES];
static _Atomic int64_t      coco_metrics_gauge[COCO_M_GAUGES][COCO_LANES];
static coco_metrics_cell_t  coco_metrics_cell[COCO_M_HISTOGRAMS][COCO_LANES];


void
coco_metrics_add(coco_counter_e c, coco_lane_id_e lane, uint64_t n)
{
    atomic_fetch_add_explicit(&coco_metrics_count[c][lane], n,
                              memory_order_relaxed);
}


void
coco_metrics_set(coco_gauge_e g, coco_lane_id_e lane, int64_t value)
{
    atomic_store_explicit(&coco_metrics_gauge[g][lane], value,
                          memory_order_relaxed);
}


void
coco_metrics_shift(coco_gauge_e g, coco_lane_id_e lane, int64_t by)
{
    atomic_fetch_add_explicit(&coco_metrics_gauge[g][lane], by,
                              memory_order_relaxed);
}


int64_t
coco_metrics_gauge_get(coco_gauge_e g, coco_lane_id_e lane)
{
    return atomic_load_explicit(&coco_metrics_gauge[g][lane],
                                memory_order_relaxed);
}


void
coco_metrics_observe(coco_histogram_e h, coco_lane_id_e lane, double value)
{
    size_t                i;
    double                sum;
    const double         *bounds;
    coco_metrics_cell_t  *cell;

    cell = &coco_metrics_cell[h][lane];
    bounds = coco_metrics_histograms[h].bounds;

    for (i = 0; i < COCO_METRICS_BOUNDS && bounds[i] != 0; i++) {
        if (value <= bounds[i]) {
            break;
        }
    }

    if (i < COCO_METRICS_BOUNDS && bounds[i] == 0) {
        i = COCO_METRICS_BOUNDS;
    }

    atomic_fetch_add_explicit(&cell->buckets[i], 1, memory_order_relaxed);

    sum = atomic_load_explicit(&cell->sum, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&cell->sum, &sum,
                                                  sum + value,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed))
    {
        /* another thread was faster; sum holds what it left */
    }
}


char *
coco_metrics_encode(size_t *ret_len)
{
    int                          i, at;
    char                        *text;
    FILE                        *out;
    const coco_metrics_entry_t  *e;
    const coco_metrics_cells_t  *cells;

    text = NULL;
    out = open_memstream(&text, ret_len);
    if (out == NULL) {
        return NULL;
    }

    coco_metrics_counters_encode(out);

    for (i = 0; i < COCO_M_GAUGES; i++) {
        e = &coco_metrics_gauges[i];
        cells = &coco_metrics_cells[e->partner];
        coco_metrics_head(out, e->name, e->help, "gauge");

        for (at = 0; at < cells->count; at++) {
            fprintf(out, "%s{%s=\"%s\"} %lld\n", e->name, cells->name,
                    cells->values[at], (long long) coco_metrics_gauge[i][at]);
        }
    }

    for (i = 0; i < COCO_M_HISTOGRAMS; i++) {
        coco_metrics_histogram_encode(out, &coco_metrics_histograms[i],
                                      coco_metrics_cell[i]);
    }

    coco_metrics_process_encode(out);

    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }

    return text;
}


static void
coco_metrics_counters_encode(FILE *out)
{
    int                          i, at;
    const char                  *name = "";
    const coco_metrics_entry_t  *e;
    const coco_metrics_cells_t  *cells;

    for (i = 0; i < COCO_M_COUNTERS; i++) {
        e = &coco_metrics_counters[i];
        cells = &coco_metrics_cells[e->partner];

        if (strcmp(e->name, name) != 0) {
            coco_metrics_head(out, e->name, e->help, "counter");
            name = e->name;
        }

        for (at = 0; at < cells->count; at++) {
            fprintf(out, "%s{%s%s=\"%s\"} %llu\n", e->name,
                    e->label ? e->label : "", cells->name, cells->values[at],
                    (unsigned long long) coco_metrics_count[i][at]);
        }
    }
}


static void
coco_metrics_head(FILE *out, const char *name, const char *help,
    const char *type)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}


/* The count is the sum of the buckets read, so that the two always agree. */
static void
coco_metrics_histogram_encode(FILE *out, const coco_metrics_histogram_t *h,
    coco_metrics_cell_t *cells)
{
    int                          at;
    size_t                       i;
    uint64_t                     count;
    const char                  *label, *value;
    coco_metrics_cell_t         *cell;
    const coco_metrics_cells_t  *of = &coco_metrics_cells[h->partner];

    label = of->name;
    coco_metrics_head(out, h->name, h->help, "histogram");

    for (at = 0; at < of->count; at++) {
        cell = &cells[at];
        value = of->values[at];
        count = 0;

        for (i = 0; i < COCO_METRICS_BOUNDS && h->bounds[i] != 0; i++) {
            count += cell->buckets[i];
            fprintf(out, "%s_bucket{%s=\"%s\",le=\"%g\"} %llu\n", h->name,
                    label, value, h->bounds[i], (unsigned long long) count);
        }

        count += cell->buckets[COCO_METRICS_BOUNDS];
        fprintf(out, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %llu\n", h->name,
                label, value, (unsigned long long) count);
        fprintf(out, "%s_sum{%s=\"%s\"} %.9g\n", h->name, label, value,
                cell->sum);
        fprintf(out, "%s_count{%s=\"%s\"} %llu\n", h->name, label, value,
                (unsigned long long) count);
    }
}


static void
coco_metrics_process_encode(FILE *out)
{
    struct rusage  usage;

    if (getrusage(RUSAGE_SELF, &usage) == -1) {
        return;
    }

    coco_metrics_head(out, "process_cpu_seconds_total",
                      "User and system CPU time.", "counter");
    fprintf(out, "process_cpu_seconds_total %.6f\n",
            (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
            + (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
              / 1e6);

    coco_metrics_head(out, "coco_process_peak_memory_bytes",
                      "The most memory that was resident.", "gauge");
    fprintf(out, "coco_process_peak_memory_bytes %lld\n",
            (long long) usage.ru_maxrss * 1024);
}
