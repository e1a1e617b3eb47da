/*
 * Events a second through coco_bus_send(), confirmed, against the bare client
 * library with the same messages and window, turn about in the same run.
 *
 *     bus_bench rabbitmq|kafka EVENTS ROUNDS CALL
 *
 * CALL is how many events one coco_bus_send() is given. The configuration is
 * the worker's, from the environment.
 */

#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "log.h"
#include "sinks/bus.h"

#define BENCH_NAME    "Robots.StateChange"
#define BENCH_QUEUE   "coco.operations"
#define BENCH_ROUNDS  20

typedef struct {
    double  rate;           /* events a second */
    double  cpu;            /* us an event */
} bench_result_t;

static coco_config_t      bench_config;
static coco_bus_event_t  *bench_events;
static size_t             bench_count;


static void
bench_die(const char *what)
{
    fprintf(stderr, "bus_bench: %s\n", what);
    exit(1);
}


static double
bench_cpu(void)
{
    struct rusage  u;

    getrusage(RUSAGE_SELF, &u);

    return (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6
           + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}


static void
bench_events_make(void)
{
    char  *text;

    bench_events = calloc(bench_count, sizeof(*bench_events));
    text = malloc(bench_count * 448);
    if (bench_events == NULL || text == NULL) {
        bench_die("no memory");
    }

    for (size_t i = 0; i < bench_count; i++, text += 448) {
        memset(text, 'x', 448);
        snprintf(text, 24, "bench-%zu", i % 1000);
        bench_events[i].serial = (coco_str_t) { text, strlen(text) };
        bench_events[i].name = coco_string(BENCH_NAME);
        bench_events[i].payload = (coco_str_t) { text + 48, 400 };
        bench_events[i].ts = coco_clock_ms();
        bench_events[i].cause.known = true;
        memcpy(bench_events[i].id.bytes, &i, sizeof(i));
    }
}


/* --- the bare clients --- */

static amqp_connection_state_t
bench_amqp_open(void)
{
    amqp_socket_t            *s;
    amqp_connection_state_t   conn = amqp_new_connection();

    s = amqp_tcp_socket_new(conn);
    if (amqp_socket_open(s, bench_config.rabbitmq_host,
                         (int) bench_config.rabbitmq_port) != 0
        || amqp_login(conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest",
                      "guest").reply_type != AMQP_RESPONSE_NORMAL
        || amqp_channel_open(conn, 1) == NULL
        || amqp_confirm_select(conn, 1) == NULL)
    {
        bench_die("cannot connect to RabbitMQ");
    }

    return conn;
}


static void
bench_amqp_purge(void)
{
    amqp_connection_state_t  conn = bench_amqp_open();

    if (amqp_queue_purge(conn, 1, amqp_cstring_bytes(BENCH_QUEUE)) == NULL) {
        bench_die("there is no queue " BENCH_QUEUE);
    }

    amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(conn);
}


static void
bench_amqp_publish(amqp_connection_state_t conn, const coco_bus_event_t *e)
{
    char                     id[COCO_ID_TEXT_LEN];
    amqp_basic_properties_t  p = { 0 };
    amqp_table_entry_t       headers[] = {
        { amqp_cstring_bytes("serial"),
          { AMQP_FIELD_KIND_UTF8,
            { .bytes = { e->serial.len, (void *) e->serial.data } } } },
        { amqp_cstring_bytes("coco-cause-ts"),
          { AMQP_FIELD_KIND_I64, { .i64 = e->cause.ts } } },
        { amqp_cstring_bytes("coco-cause-id"),
          { AMQP_FIELD_KIND_UTF8, { .bytes = { sizeof(id), id } } } },
    };

    coco_id_format(id, &e->id);
    p._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG
               | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG
               | AMQP_BASIC_HEADERS_FLAG;
    p.content_type = amqp_cstring_bytes("application/json");
    p.delivery_mode = 2;
    p.message_id = (amqp_bytes_t) { sizeof(id), id };
    p.type = amqp_cstring_bytes(BENCH_NAME);
    p.headers = (amqp_table_t) { 3, headers };

    if (amqp_basic_publish(conn, 1, amqp_cstring_bytes(BENCH_NAME),
                           amqp_empty_bytes, 1, 0, &p,
                           (amqp_bytes_t) { e->payload.len,
                                            (void *) e->payload.data }) != 0)
    {
        bench_die("publish");
    }
}


/* In order, each confirm with multiple or alone: counting is enough here. */
static void
bench_amqp_bare(void)
{
    size_t                    next = 0, confirmed = 0;
    uint64_t                  tag;
    amqp_frame_t              frame;
    const amqp_basic_ack_t   *ack;
    amqp_connection_state_t   conn = bench_amqp_open();

    while (confirmed < bench_count) {
        while (next < bench_count
               && next - confirmed < bench_config.bus_window)
        {
            bench_amqp_publish(conn, &bench_events[next++]);
        }

        if (amqp_simple_wait_frame(conn, &frame) != AMQP_STATUS_OK
            || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        {
            bench_die("no confirm");
        }

        ack = frame.payload.method.decoded;
        tag = ack->delivery_tag;
        confirmed = ack->multiple ? tag : confirmed + 1;
        amqp_maybe_release_buffers(conn);
    }

    amqp_connection_close(conn, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(conn);
}


static void
bench_kafka_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *left)
{
    (void) rk;

    if (m->err) {
        bench_die(rd_kafka_err2str(m->err));
    }

    --*(size_t *) left;
}


static void
bench_kafka_bare(void)
{
    char              error[256], window[24];
    size_t            next = 0, left = bench_count;
    rd_kafka_t       *rk;
    rd_kafka_conf_t  *conf = rd_kafka_conf_new();

    snprintf(window, sizeof(window), "%zu", (size_t) bench_config.bus_window);

    const char  *set[][2] = {
        { "bootstrap.servers", bench_config.kafka_brokers },
        { "enable.idempotence", "true" }, { "linger.ms", "2" },
        { "queue.buffering.max.messages", window },
    };

    for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++) {
        rd_kafka_conf_set(conf, set[i][0], set[i][1], error, sizeof(error));
    }

    rd_kafka_conf_set_opaque(conf, &left);
    rd_kafka_conf_set_dr_msg_cb(conf, bench_kafka_delivered);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    if (rk == NULL) {
        bench_die(error);
    }

    while (left > 0) {
        while (next < bench_count
               && next - (bench_count - left) < bench_config.bus_window
               && rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(BENCH_NAME),
                      RD_KAFKA_V_KEY(bench_events[next].serial.data,
                                     bench_events[next].serial.len),
                      RD_KAFKA_V_VALUE((void *) bench_events[next].payload.data,
                                       bench_events[next].payload.len),
                      RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR_NO_ERROR)
        {
            next++;
        }

        rd_kafka_poll(rk, 100);
    }

    rd_kafka_destroy(rk);
}


/* --- ours --- */

static void
bench_ours(size_t call)
{
    size_t               n, sent = 0;
    coco_bus_t          *bus;
    coco_stop_t          stop;
    coco_bus_options_t   options = { &bench_config, NULL, NULL };

    if (coco_stop_init(&stop) != COCO_OK
        || (bus = coco_bus_create(&options, &stop)) == NULL)
    {
        bench_die("no memory");
    }

    while (sent < bench_count) {
        n = bench_count - sent < call ? bench_count - sent : call;

        if (coco_bus_send(bus, bench_events + sent, n) != n) {
            bench_die(coco_bus_error(bus));
        }
        sent += n;
    }

    coco_bus_destroy(bus);
    coco_stop_free(&stop);
}


static bench_result_t
bench_round(bool rabbitmq, bool ours, size_t call)
{
    double   cpu;
    int64_t  begin;

    if (rabbitmq) {
        bench_amqp_purge();
    }

    cpu = bench_cpu();
    begin = coco_clock_monotonic_us();

    if (ours) {
        bench_ours(call);
    } else if (rabbitmq) {
        bench_amqp_bare();
    } else {
        bench_kafka_bare();
    }

    return (bench_result_t) {
        (double) bench_count * 1e6
            / (double) (coco_clock_monotonic_us() - begin),
        (bench_cpu() - cpu) / (double) bench_count };
}


static int
bench_compare(const void *a, const void *b)
{
    double  x = ((const bench_result_t *) a)->rate;
    double  y = ((const bench_result_t *) b)->rate;

    return x < y ? -1 : x > y;
}


int
main(int argc, char **argv)
{
    int              rounds;
    bool             rabbitmq;
    size_t           call;
    bench_result_t   results[2][BENCH_ROUNDS], *bare, *ours;

    if (argc != 5) {
        bench_die("usage: bus_bench rabbitmq|kafka EVENTS ROUNDS CALL");
    }

    rabbitmq = strcmp(argv[1], "rabbitmq") == 0;
    bench_count = strtoul(argv[2], NULL, 10);
    rounds = atoi(argv[3]);
    call = strtoul(argv[4], NULL, 10);

    coco_log_init(COCO_LOG_WARN, COCO_LOG_TEXT);

    if (rounds < 1 || rounds > BENCH_ROUNDS || bench_count == 0 || call == 0
        || coco_config_load(&bench_config, NULL, NULL, stderr) != COCO_OK)
    {
        bench_die("see the usage, and the configuration");
    }

    bench_events_make();

    if (rabbitmq) {
        /* declares what both publish to */
        size_t  all = bench_count;

        bench_count = 1;
        bench_ours(1);
        bench_count = all;
    }

    for (int i = 0; i < rounds; i++) {
        for (int j = 0; j < 2; j++) {
            /* the first of a pair finds the broker at rest: take turns */
            results[(i + j) % 2][i] = bench_round(rabbitmq, (i + j) % 2, call);
        }
    }

    qsort(results[0], (size_t) rounds, sizeof(**results), bench_compare);
    qsort(results[1], (size_t) rounds, sizeof(**results), bench_compare);
    bare = &results[0][rounds / 2];
    ours = &results[1][rounds / 2];

    printf("%s, window %zu, %zu a call: %.0f events/s and %.1f us CPU each; "
           "bare client %.0f/s and %.1f us; ratio %.2f\n", argv[1],
           (size_t) bench_config.bus_window, call, ours->rate, ours->cpu,
           bare->rate, bare->cpu, ours->rate / bare->rate);

    return 0;
}
