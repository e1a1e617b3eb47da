/*
 * The robots: each acknowledges a command at once, reports an open lid after
 * the time that its serial tells (lid-ROUND-MS-NUMBER), and if that is long
 * enough a closed one later. A repeated command is not acted on.
 */

#include "lid_bench.h"

#define CLOSES  500                    /* ms; slower ones close, too */
#define ID      36

typedef struct {
    char      root[16];                /* of its topics */
    char      serial[64];
    char      command[ID + 1];
    int64_t   opens_at;                /* us, monotonic; 0: it does not */
    int64_t   closes_at;
    int64_t   delay;                   /* us */
} robot_t;

static robot_t        *robots;
static int             robot_count;
static robot_times_t  *robot_times;
static mqtt_t          robot_broker;

static void robots_run(void) __attribute__((noreturn));
static void robots_command(void *data, const char *topic,
    const char *payload);
static int64_t robots_due(void);
static void robots_report(const robot_t *r, const char *type,
    const char *command);


pid_t
robots_start(int port, robot_times_t *times, int count)
{
    int    ready[2];
    char   byte;
    pid_t  pid;

    robots = calloc((size_t) count, sizeof(*robots));
    robot_count = count;
    robot_times = times;

    if (robots == NULL || pipe(ready) == -1) {
        fatal("robots");
    }

    pid = fork();
    if (pid == -1) {
        fatal("fork");
    }

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        mqtt_open(&robot_broker, port, "bench-robots");
        mqtt_subscribe(&robot_broker, "robot/+/commands");
        mqtt_subscribe(&robot_broker, "bench/+/commands");

        if (write(ready[1], "", 1) != 1) {
            fatal("ready");
        }

        robots_run();
    }

    close(ready[1]);

    if (read(ready[0], &byte, 1) != 1) {
        fatal("robots");
    }

    close(ready[0]);

    return pid;
}


static void
robots_run(void)
{
    int64_t          next;
    struct pollfd    fd = { robot_broker.fd, POLLIN, 0 };
    struct timespec  left;

    for ( ;; ) {
        next = robots_due();
        mqtt_flush(&robot_broker);
        left = until_us(next);

        if (ppoll(&fd, 1, &left, NULL) > 0) {
            mqtt_read(&robot_broker, robots_command, NULL);
        }
    }
}


int
robot_number(const char *topic)
{
    int   number;
    char  root[16];

    return sscanf(topic, "%15[^/]/lid-%*d-%*d-%d", root, &number) == 2
           ? number : -1;
}


static void
robots_command(void *data, const char *topic, const char *payload)
{
    int          ms, number = robot_number(topic);
    robot_t     *r;
    const char  *id = strstr(payload, "\"id\":\"");

    if (number < 0 || number >= robot_count || id == NULL
        || strlen(id + 6) < ID
        || strncmp(robots[number].command, id + 6, ID) == 0)
    {
        return;
    }

    r = &robots[number];
    memcpy(r->command, id + 6, ID);
    sscanf(topic, "%15[^/]/%63[^/]", r->root, r->serial);
    sscanf(r->serial, "lid-%*d-%d", &ms);

    r->delay = ms * 1000LL;
    r->opens_at = now_us() + r->delay;
    atomic_store(&robot_times[number].received, now_us());

    if (ms > 0) {
        robots_report(r, "COMMAND_ACK", r->command);
    }
}


/* When to come again. */
static int64_t
robots_due(void)
{
    int64_t   now = now_us(), next = now + 1000000;
    robot_t  *r;

    for (int i = 0; i < robot_count; i++) {
        r = &robots[i];

        if (r->opens_at != 0 && r->opens_at <= now) {
            r->closes_at = r->delay >= CLOSES * 1000 ? now + r->delay / 2 : 0;
            r->opens_at = 0;
            atomic_store(&robot_times[i].published, now_us());
            robots_report(r, "LID_OPENED", r->command);
        }

        if (r->closes_at != 0 && r->closes_at <= now) {
            r->closes_at = 0;
            robots_report(r, "LID_CLOSED", NULL);
        }

        if (r->opens_at != 0 && r->opens_at < next) {
            next = r->opens_at;
        }

        if (r->closes_at != 0 && r->closes_at < next) {
            next = r->closes_at;
        }
    }

    return next;
}


/* command: what it answers, or NULL. */
static void
robots_report(const robot_t *r, const char *type, const char *command)
{
    int              len;
    char             topic[96], text[256];
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(topic, sizeof(topic), "%s/%s/events", r->root, r->serial);
    len = snprintf(text, sizeof(text), "{\"type\":\"%s\",\"ts\":%lld%s%s%s}",
                   type, now.tv_sec * 1000LL + now.tv_nsec / 1000000,
                   command ? ",\"commandId\":\"" : "",
                   command ? command : "", command ? "\"" : "");
    mqtt_publish(&robot_broker, topic, text, (size_t) len);
}
