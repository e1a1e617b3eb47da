/*
 * What the askers and the robots of lid_bench share: the clock, MQTT 3.1.1
 * by hand with QoS 1, and the times of each robot. Whatever fails ends the
 * program.
 */

#ifndef LID_BENCH_H
#define LID_BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MQTT_BUFFER  (1 << 18)

typedef struct {
    int             fd;
    uint16_t        id;
    size_t          in_len;
    size_t          out_len;
    unsigned char   in[MQTT_BUFFER];
    unsigned char   out[MQTT_BUFFER];
} mqtt_t;

/* us, monotonic; 0: not yet */
typedef struct {
    _Atomic int64_t  received;
    _Atomic int64_t  published;
} robot_times_t;

typedef void (*mqtt_message_pt)(void *data, const char *topic,
    const char *payload);

void fatal(const char *what) __attribute__((noreturn));
int64_t now_us(void);                       /* monotonic */
struct timespec until_us(int64_t at);       /* none once it has passed */

int tcp_open(int port);                     /* to 127.0.0.1 */

void mqtt_open(mqtt_t *m, int port, const char *client);
void mqtt_subscribe(mqtt_t *m, const char *filter);
/* It leaves with mqtt_flush(). */
void mqtt_publish(mqtt_t *m, const char *topic, const char *payload,
    size_t len);
void mqtt_flush(mqtt_t *m);
/* Every message that is there; each is acknowledged. */
void mqtt_read(mqtt_t *m, mqtt_message_pt message, void *data);

/* Of …/lid-ROUND-MS-NUMBER/…, -1 of another. */
int robot_number(const char *topic);

/* Their process, connected; it ends with its parent. */
pid_t robots_start(int port, robot_times_t *times, int count);

#endif /* LID_BENCH_H */
