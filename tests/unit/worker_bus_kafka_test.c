/*
 * The Kafka engine of the bus against librdkafka's mock cluster, which is told
 * what to refuse: one message that Kafka can never take, in a batch, alone, or
 * by the producer itself, and what is only away for a moment.
 */

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sinks/bus.h"

#define EVENTS   20
#define PRODUCE  0        /* the number of the request */
#define TOPIC    "Robots.StateChange"

typedef struct {
    rd_kafka_t               *rk;        /* the cluster's, and asks it */
    rd_kafka_mock_cluster_t  *cluster;
    coco_stop_t               stop;
    coco_config_t             config;
    coco_bus_options_t        options;
    coco_bus_t               *bus;
    char                      text[EVENTS][16];
    coco_bus_event_t          events[EVENTS];
} kafka_t;


static int
kafka_setup(void **state)
{
    char      error[256];
    kafka_t  *k;

    k = calloc(1, sizeof(*k));
    assert_non_null(k);
    k->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), error,
                         sizeof(error));
    assert_non_null(k->rk);
    k->cluster = rd_kafka_mock_cluster_new(k->rk, 1);
    assert_non_null(k->cluster);
    rd_kafka_mock_topic_create(k->cluster, TOPIC, 1, 1);
    rd_kafka_brokers_add(k->rk, rd_kafka_mock_cluster_bootstraps(k->cluster));

    setenv("COCO_WORKER_BUS_ENGINES", "kafka", 1);
    setenv("COCO_WORKER_BUS_TIMEOUT", "3s", 1);
    setenv("COCO_WORKER_KAFKA_BROKERS",
           rd_kafka_mock_cluster_bootstraps(k->cluster), 1);
    setenv("COCO_WORKER_KAFKA_PROPERTIES", "message.max.bytes=1000", 1);

    assert_int_equal(coco_config_load(&k->config, NULL, NULL, stderr),
                     COCO_OK);
    assert_int_equal(coco_stop_init(&k->stop), COCO_OK);
    k->options.config = &k->config;
    k->bus = coco_bus_create(&k->options, &k->stop);
    assert_non_null(k->bus);

    for (int i = 0; i < EVENTS; i++) {
        snprintf(k->text[i], sizeof(k->text[i]), "{\"number\":%d}", i);
        k->events[i].name = coco_string(TOPIC);
        k->events[i].serial = coco_string("r-1");
        k->events[i].payload = (coco_str_t) { k->text[i],
                                              strlen(k->text[i]) };
    }

    *state = k;

    return 0;
}


static int
kafka_teardown(void **state)
{
    kafka_t  *k = *state;

    coco_bus_destroy(k->bus);
    coco_stop_free(&k->stop);
    coco_config_free(&k->config);
    rd_kafka_mock_cluster_destroy(k->cluster);
    rd_kafka_destroy(k->rk);
    free(k);

    return 0;
}


/* How many messages the topic has. */
static int64_t
kafka_stored(kafka_t *k)
{
    int64_t  low, high = -1;

    assert_int_equal(rd_kafka_query_watermark_offsets(k->rk, TOPIC, 0, &low,
                                                      &high, 5000),
                     RD_KAFKA_RESP_ERR_NO_ERROR);

    return high;
}


/* librdkafka takes it for the producer's own limit: nothing is waited for. */
static void
too_large_for_the_producer(void **state)
{
    kafka_t  *k = *state;
    char      large[2000];

    memset(large, ' ', sizeof(large));
    k->events[7].payload = (coco_str_t) { large, sizeof(large) };

    assert_int_equal(coco_bus_send(k->bus, k->events, EVENTS), EVENTS);
    assert_int_equal(kafka_stored(k), EVENTS - 1);
}


/* The batch is refused, then each goes alone, and only the one that is refused
 * again is left out. */
static void
too_large_for_the_broker(void **state)
{
    size_t    sent;
    kafka_t  *k = *state;

    rd_kafka_mock_push_request_errors(k->cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    sent = coco_bus_send(k->bus, k->events, EVENTS);
    assert_true(sent < EVENTS);
    assert_non_null(strstr(coco_bus_error(k->bus), TOPIC));

    rd_kafka_mock_push_request_errors(k->cluster, PRODUCE, 2,
                                      RD_KAFKA_RESP_ERR_NO_ERROR,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    sent += coco_bus_send(k->bus, k->events + sent, EVENTS - sent);
    assert_int_equal(sent, EVENTS);
    assert_int_equal(kafka_stored(k), EVENTS - 1);

    /* and then by batches again: one refusal gives nothing up */
    rd_kafka_mock_push_request_errors(k->cluster, PRODUCE, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP);
    sent = coco_bus_send(k->bus, k->events, EVENTS);
    assert_true(sent < EVENTS);
    sent += coco_bus_send(k->bus, k->events + sent, EVENTS - sent);
    assert_int_equal(sent, EVENTS);
    assert_int_equal(kafka_stored(k), 2 * EVENTS - 1);
}


/* What may yet succeed is never given up, alone or not. */
static void
refused_for_a_while(void **state)
{
    size_t    sent = 0;
    kafka_t  *k = *state;

    for (int i = 0; i < 3; i++) {
        rd_kafka_mock_push_request_errors(k->cluster, PRODUCE, 1, i == 0
                            ? RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
                            : RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        sent += coco_bus_send(k->bus, k->events + sent, EVENTS - sent);
        assert_true(sent < EVENTS);
    }

    sent += coco_bus_send(k->bus, k->events + sent, EVENTS - sent);
    assert_int_equal(sent, EVENTS);
    assert_int_equal(kafka_stored(k), EVENTS);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(too_large_for_the_producer,
                                        kafka_setup, kafka_teardown),
        cmocka_unit_test_setup_teardown(too_large_for_the_broker,
                                        kafka_setup, kafka_teardown),
        cmocka_unit_test_setup_teardown(refused_for_a_while,
                                        kafka_setup, kafka_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
