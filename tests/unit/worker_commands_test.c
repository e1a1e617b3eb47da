/*
 * The connection that commands leave by, against a broker of the test's own:
 * what is on the wire, what is in flight, and what each message is told.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "log.h"
#include "sinks/publisher.h"
#include "sinks/retry.h"

#define PATIENCE_US  5000000

#define CONNACK      "\x20\x03\x00\x00\x00"
#define CONNACK_TWO  "\x20\x06\x00\x00\x03\x21\x00\x02"  /* receive maximum */
#define CONNACK_NO   "\x20\x03\x00\x87\x00"              /* not authorized */
#define TAKEN_OVER   "\xe0\x01\x8e"

typedef struct {
    int                listener, fd;     /* the broker's; -1: not connected */
    coco_config_t      config;
    coco_publisher_t  *p;
    unsigned           ends[3];          /* by coco_publisher_end_e */
    unsigned           tag;              /* the last one's */
    char               text[160];
} fixture_t;


static void
done(void *data, unsigned tag, coco_publisher_end_e end, const char *text)
{
    fixture_t  *f = data;

    f->ends[end]++;
    f->tag = tag;
    snprintf(f->text, sizeof(f->text), "%s", text);
}


static int
setup(void **state)
{
    fixture_t                 *f;
    socklen_t                  len;
    struct sockaddr_in         address;
    coco_publisher_options_t   options;

    f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(coco_config_load(&f->config, NULL, NULL, stderr),
                     COCO_OK);

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(address);
    f->fd = -1;
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (void *) &address, len), 0);
    assert_int_equal(listen(f->listener, 5), 0);
    assert_int_equal(getsockname(f->listener, (void *) &address, &len), 0);

    f->config.mqtt_port = ntohs(address.sin_port);
    f->config.mqtt_reconnect_min = 10;
    f->config.mqtt_reconnect_max = 20;

    options = (coco_publisher_options_t) { &f->config, "commands", done, f };
    f->p = coco_publisher_create(&options);
    assert_non_null(f->p);
    *state = f;

    return 0;
}


static int
teardown(void **state)
{
    fixture_t  *f = *state;

    coco_publisher_destroy(f->p);
    close(f->fd);
    close(f->listener);
    coco_config_free(&f->config);
    free(f);

    return 0;
}


/* One turn of the owner's loop, ms at most. */
static void
turn(fixture_t *f, int ms)
{
    unsigned       left;
    struct pollfd  fd;

    left = coco_publisher_poll(f->p, &fd);
    (void) poll(&fd, 1, left < (unsigned) ms ? (int) left : ms);
    coco_publisher_serve(f->p, fd.fd == -1 ? 0 : fd.revents);
}


/* Turns until the broker has read `size` bytes at least; how many. */
static size_t
broker_read(fixture_t *f, unsigned char *buf, size_t room, size_t size)
{
    size_t   len = 0;
    ssize_t  n;
    int64_t  until = coco_clock_monotonic_us() + PATIENCE_US;

    while (len < size) {
        assert_true(coco_clock_monotonic_us() < until);
        turn(f, 1);
        n = recv(f->fd, buf + len, room - len, MSG_DONTWAIT);
        len += n > 0 ? (size_t) n : 0;
    }

    return len;
}


/* Turns until it is up, or not; the broker has said so. */
static void
settle(fixture_t *f, bool up)
{
    int64_t  until = coco_clock_monotonic_us() + PATIENCE_US;

    while (coco_publisher_up(f->p) != up) {
        assert_true(coco_clock_monotonic_us() < until);
        turn(f, 1);
    }
}


/* The next connection, answered; its CONNECT is in buf. */
static size_t
broker_accept(fixture_t *f, unsigned char *buf, size_t room,
    const char *answer, size_t len)
{
    size_t         n;
    int64_t        until = coco_clock_monotonic_us() + PATIENCE_US;
    struct pollfd  fd = { f->listener, POLLIN, 0 };

    while (poll(&fd, 1, 0) != 1) {
        assert_true(coco_clock_monotonic_us() < until);
        turn(f, 1);
    }

    close(f->fd);
    f->fd = accept(f->listener, NULL, NULL);
    assert_true(f->fd >= 0);
    n = broker_read(f, buf, room, 14);
    assert_int_equal(buf[0], 0x10);
    assert_int_equal(send(f->fd, answer, len, MSG_NOSIGNAL), len);

    return n;
}


static void
connected(fixture_t *f, const char *answer, size_t len)
{
    unsigned char  buf[512];

    broker_accept(f, buf, sizeof(buf), answer, len);
    settle(f, true);
}


/* The broker's answer to the message of this id. */
static void
puback(fixture_t *f, const unsigned char *mid, unsigned char reason)
{
    unsigned  before, i;
    int64_t   until = coco_clock_monotonic_us() + PATIENCE_US;

    unsigned char  packet[] = { 0x40, 3, mid[0], mid[1], reason };

    before = f->ends[0] + f->ends[1];
    assert_int_equal(send(f->fd, packet, sizeof(packet), MSG_NOSIGNAL),
                     sizeof(packet));

    for (i = before; i == before; i = f->ends[0] + f->ends[1]) {
        assert_true(coco_clock_monotonic_us() < until);
        turn(f, 1);
    }
}


static void
test_wire(void **state)
{
    size_t          n;
    fixture_t      *f = *state;
    unsigned char   buf[512];

    static const unsigned char  publish[] = {
        0x32, 17, 0, 3, 'a', '/', 'b', 0, 1,        /* QoS 1, not retained */
        5, 2, 0, 0, 0, 9, 'x', 'y', 'z', '!'        /* message expiry: 9 s */
    };

    assert_int_equal(coco_publisher_room(f->p), 0);
    assert_int_equal(coco_publisher_send(f->p, "a/b", coco_string("xyz!"), 9,
                                         7), COCO_ERROR);

    n = broker_accept(f, buf, sizeof(buf), CONNACK, sizeof(CONNACK) - 1);
    assert_memory_equal(buf + 2, "\0\4MQTT\5\2", 8);   /* clean start */
    /* of properties a receive maximum alone: the session ends with it */
    assert_memory_equal(buf + 12, "\3\x21", 2);
    assert_non_null(memmem(buf, n, "coco-worker-commands", 20));
    settle(f, true);
    assert_int_equal(coco_publisher_room(f->p), COCO_PUBLISHER_WINDOW);

    /* it has left when the call returns: nothing is served in between */
    assert_int_equal(coco_publisher_send(f->p, "a/b", coco_string("xyz!"), 9,
                                         7), COCO_OK);
    n = (size_t) recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT);
    assert_int_equal(n, sizeof(publish));
    assert_memory_equal(buf, publish, sizeof(publish));
    assert_int_equal(coco_publisher_room(f->p), COCO_PUBLISHER_WINDOW - 1);

    puback(f, buf + 7, 0x10);                 /* nobody listens: taken */
    assert_int_equal(f->ends[COCO_PUBLISHER_TAKEN], 1);
    assert_int_equal(f->tag, 7);
    assert_int_equal(coco_publisher_room(f->p), COCO_PUBLISHER_WINDOW);
}


static void
test_3_1_1(void **state)
{
    fixture_t      *f = *state;
    unsigned char   buf[512];

    f->config.mqtt_version = 1;
    broker_accept(f, buf, sizeof(buf), "\x20\x02\x00\x00", 4);
    assert_memory_equal(buf + 2, "\0\4MQTT\4\2", 8);   /* clean session */
    settle(f, true);

    assert_int_equal(coco_publisher_send(f->p, "a/b", coco_string("xyz!"), 9,
                                         7), COCO_OK);
    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 13);
    assert_memory_equal(buf, "\x32\x0b\0\3a/b\0\1xyz!", 13);
}


static void
test_window_of_the_broker(void **state)
{
    fixture_t      *f = *state;
    unsigned char   buf[512];

    connected(f, CONNACK_TWO, sizeof(CONNACK_TWO) - 1);
    assert_int_equal(coco_publisher_room(f->p), 2);

    for (unsigned tag = 1; tag <= 3; tag++) {
        assert_int_equal(coco_publisher_send(f->p, "t", coco_string("x"), 0,
                                             tag),
                         tag <= 2 ? COCO_OK : COCO_ERROR);
    }

    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 2 * 9);

    puback(f, buf + 5, 0x87);
    assert_int_equal(f->ends[COCO_PUBLISHER_REFUSED], 1);
    assert_int_equal(f->tag, 1);
    assert_string_equal(f->text, "Not authorized");
    assert_int_equal(coco_publisher_room(f->p), 1);

    puback(f, buf + 9 + 5, 0);
    assert_int_equal(f->ends[COCO_PUBLISHER_TAKEN], 1);
    assert_int_equal(f->tag, 2);
}


static void
test_what_is_lost_is_told_and_not_sent_again(void **state)
{
    fixture_t      *f = *state;
    unsigned char   buf[512];

    connected(f, CONNACK, sizeof(CONNACK) - 1);

    for (unsigned tag = 0; tag < 5; tag++) {
        assert_int_equal(coco_publisher_send(f->p, "t", coco_string("x"), 0,
                                             tag), COCO_OK);
    }

    assert_int_equal(send(f->fd, TAKEN_OVER, sizeof(TAKEN_OVER) - 1,
                          MSG_NOSIGNAL), sizeof(TAKEN_OVER) - 1);
    settle(f, false);
    assert_int_equal(f->ends[COCO_PUBLISHER_LOST], 5);
    assert_int_equal(coco_publisher_room(f->p), 0);
    assert_non_null(strstr(f->text, "another client has the same "
                                    "mqtt.client_id"));

    connected(f, CONNACK, sizeof(CONNACK) - 1);
    assert_int_equal(coco_publisher_room(f->p), COCO_PUBLISHER_WINDOW);
    assert_int_equal(coco_publisher_send(f->p, "t", coco_string("y"), 0, 9),
                     COCO_OK);
    assert_int_equal(recv(f->fd, buf, sizeof(buf), MSG_DONTWAIT), 9);
    assert_int_equal(buf[8], 'y');
}


static void
test_silence_ends_it(void **state)
{
    fixture_t  *f = *state;

    f->config.mqtt_connect_timeout = 100;
    connected(f, CONNACK, sizeof(CONNACK) - 1);
    assert_int_equal(coco_publisher_send(f->p, "t", coco_string("x"), 0, 1),
                     COCO_OK);
    settle(f, false);
    assert_int_equal(f->ends[COCO_PUBLISHER_LOST], 1);
    assert_string_equal(f->text, "no answer in time");

    /* and the next attempt, which nobody answers, too */
    connected(f, CONNACK, sizeof(CONNACK) - 1);
}


static void
test_refused(void **state)
{
    fixture_t      *f = *state;
    unsigned char   buf[512];

    for (int i = 0; i < 3; i++) {
        broker_accept(f, buf, sizeof(buf), CONNACK_NO,
                      sizeof(CONNACK_NO) - 1);
        assert_false(coco_publisher_up(f->p));
    }

    connected(f, CONNACK, sizeof(CONNACK) - 1);
}


static void
test_backoff(void **state)
{
    unsigned        ms, limit;
    coco_backoff_t  backoff = { 0, 0 };

    (void) state;

    for (limit = 100; limit < 25600; limit *= 2) {
        ms = coco_backoff_within(&backoff, 100, 25000);
        assert_in_range(ms, limit / 2, limit);
    }

    for (int i = 0; i < 100; i++) {
        assert_in_range(coco_backoff_within(&backoff, 100, 25000), 12500,
                        25000);
    }

    coco_backoff_reset(&backoff);
    assert_in_range(coco_backoff_within(&backoff, 100, 25000), 50, 100);
    assert_in_range(coco_backoff_within(&backoff, 100, UINT32_MAX), 100, 200);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup_teardown(test_wire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_3_1_1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window_of_the_broker, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_what_is_lost_is_told_and_not_sent_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silence_ends_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test(test_backoff),
    };

    coco_log_init(COCO_LOG_ERROR, COCO_LOG_TEXT);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
