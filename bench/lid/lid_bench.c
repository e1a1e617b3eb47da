/*
 * Robots that are told to open their lids, and those who ask them to: over
 * HTTP, or bare over MQTT. Robots and askers are two processes that share the
 * times of each robot. Must never stand between the two: it parses no more
 * than it has to.
 *
 * lid_bench HTTP_PORT MQTT_PORT TOKEN reads rounds from stdin, a line each:
 *
 *     http|mqtt ASKERS SLOWEST_MS GAP_MS SECONDS
 *
 * Each asker has a robot of its own, which takes between half of SLOWEST_MS
 * and all of it, and asks again about GAP_MS after an answer: half as long, up
 * to half as long again, by chance. Prints a line for each answer, "OUT ROBOT
 * BACK" in microseconds: until the robot has the command, until it reports,
 * until the asker knows; then "end FAILED".
 */

#include "lid_bench.h"

#define ASKERS      2048
#define REPLY_SIZE  2048
#define PATIENCE    15000000            /* us; then a round has failed */

typedef struct {
    int         fd;                     /* of HTTP; -1: none */
    size_t      len;
    char        reply[REPLY_SIZE];
    char        serial[64];
    int64_t     at;                     /* of the next question; 0: waiting */
    int64_t     asked;
} asker_t;

typedef struct {
    int         http;                   /* else bare */
    int         count;
    int64_t     gap;                    /* us, on average */
    int64_t     until;
    int         waiting;
    int         failed;
} round_t;

static int       http_port, epoll_fd;
static const char  *token;
static robot_times_t  *times;
static asker_t   askers[ASKERS];
static mqtt_t    broker;


static void
http_open(asker_t *a)
{
    struct epoll_event  event = { .events = EPOLLIN, .data.ptr = a };

    a->fd = tcp_open(http_port);
    a->len = 0;

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, a->fd, &event) == -1) {
        fatal("epoll_ctl");
    }
}


static void
http_ask(asker_t *a)
{
    int          len;
    char         text[1024];
    static const char  body[] = "{\"source\":\"OPERATOR\"}";

    len = snprintf(text, sizeof(text),
                   "POST /state/%s/lid/open HTTP/1.1\r\nHost: c\r\n"
                   "Authorization: Bearer %s\r\n"
                   "Content-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   a->serial, token, sizeof(body) - 1, body);

    if (send(a->fd, text, (size_t) len, MSG_NOSIGNAL) != len) {
        fatal("send");
    }
}


/* Of the same size as the product's command. */
static void
mqtt_ask(asker_t *a, int number)
{
    int              len;
    char             topic[96], text[256];
    long long        ms = now_us() / 1000 + 1700000000000LL;
    static unsigned  asked;

    snprintf(topic, sizeof(topic), "bench/%s/commands", a->serial);
    len = snprintf(text, sizeof(text),
                   "{\"id\":\"%08x-0000-8000-8000-%012x\","
                   "\"command\":\"OPEN_LID\",\"source\":\"OPERATOR\","
                   "\"issuedAt\":%lld,\"expiresAt\":%lld}",
                   ++asked, (unsigned) number, ms, ms + 9000);
    mqtt_publish(&broker, topic, text, (size_t) len);
}


static void
ask(round_t *round, asker_t *a, int64_t now)
{
    int  number = (int) (a - askers);

    atomic_store(&times[number].received, 0);
    atomic_store(&times[number].published, 0);
    a->asked = now;
    a->at = 0;
    round->waiting++;

    if (round->http) {
        http_ask(a);
    } else {
        mqtt_ask(a, number);
    }
}


static void
answered(round_t *round, asker_t *a, int ok)
{
    int64_t         now = now_us(), received, published;
    robot_times_t  *t = &times[a - askers];

    received = atomic_load(&t->received);
    published = atomic_load(&t->published);
    round->waiting--;
    a->at = now + round->gap / 2
            + (int64_t) (round->gap * (rand() / (RAND_MAX + 1.0)));

    if (!ok || received == 0 || published == 0) {
        round->failed++;

    } else {
        printf("%lld %lld %lld\n", (long long) (received - a->asked),
               (long long) (published - received),
               (long long) (now - published));
    }
}


static void
http_read(round_t *round, asker_t *a)
{
    char     *body, *length;
    ssize_t   n;

    n = recv(a->fd, a->reply + a->len, sizeof(a->reply) - 1 - a->len, 0);

    if (n <= 0) {
        close(a->fd);
        http_open(a);
        if (a->at == 0) {
            answered(round, a, 0);
        }
        return;
    }

    a->len += (size_t) n;
    a->reply[a->len] = '\0';
    body = strstr(a->reply, "\r\n\r\n");
    length = strcasestr(a->reply, "\r\ncontent-length:");

    if (body == NULL || length == NULL || length > body
        || a->len < (size_t) (body + 4 - a->reply)
                    + strtoul(length + 17, NULL, 10))
    {
        return;
    }

    if (strncmp(a->reply + 9, "200", 3) != 0 && round->failed == 0) {
        fprintf(stderr, "%s: %s\n", a->serial, body + 4);
    }

    a->len = 0;
    answered(round, a, strncmp(a->reply + 9, "200", 3) == 0);
}


/* A robot's report, of the bare way. */
static void
reported(void *data, const char *topic, const char *payload)
{
    int       number;
    round_t  *round = data;

    if (strstr(payload, "LID_OPENED") == NULL) {
        return;
    }

    number = robot_number(topic);

    if (number >= 0 && number < round->count && askers[number].at == 0) {
        answered(round, &askers[number], 1);
    }
}


static int64_t
ask_due(round_t *round)
{
    int64_t  now = now_us(), next = now + 1000000;

    for (int i = 0; i < round->count && now < round->until; i++) {
        if (askers[i].at == 0) {
            continue;
        }

        if (askers[i].at <= now) {
            ask(round, &askers[i], now);

        } else if (askers[i].at < next) {
            next = askers[i].at;
        }
    }

    return next;
}


static void
round_wait(round_t *round, int64_t next)
{
    int                 n;
    struct timespec     left;
    struct epoll_event  events[256];

    mqtt_flush(&broker);
    left = until_us(next);
    n = epoll_pwait2(epoll_fd, events, 256, &left, NULL);

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &broker) {
            mqtt_read(&broker, reported, round);
        } else {
            http_read(round, events[i].data.ptr);
        }
    }
}


static void
round_begin(round_t *round, int slowest, int seconds)
{
    int         own;
    int64_t     now = now_us();
    asker_t    *a;
    static int  rounds;

    rounds++;

    for (int i = 0; i < round->count; i++) {
        a = &askers[i];
        own = slowest / 2 + (int) (slowest / 2.0 * i / round->count);
        snprintf(a->serial, sizeof(a->serial), "lid-%d-%d-%d", rounds, own,
                 i);

        /* spread over what the robots take */
        a->at = now + (int64_t) slowest * 1000 * ((i * 619) % round->count)
                      / round->count;

        a->fd = -1;
        if (round->http) {
            http_open(a);
        }
    }

    round->until = now + seconds * 1000000LL;
}


static void
round_run(const char *kind, int count, int slowest, int gap, int seconds)
{
    round_t  round = { .http = strcmp(kind, "http") == 0, .count = count,
                       .gap = gap * 1000LL };
    int64_t  next;

    round_begin(&round, slowest, seconds);

    for ( ;; ) {
        next = ask_due(&round);

        if (now_us() >= round.until && round.waiting == 0) {
            break;
        }

        if (now_us() >= round.until + PATIENCE) {
            round.failed += round.waiting;
            break;
        }

        round_wait(&round, next);
    }

    for (int i = 0; i < count && round.http; i++) {
        close(askers[i].fd);
    }

    printf("end %d\n", round.failed);
    fflush(stdout);
}


int
main(int argc, char **argv)
{
    int                 count, slowest, gap, seconds;
    char                line[128], kind[8];
    pid_t               robots;
    struct epoll_event  event = { .events = EPOLLIN, .data.ptr = &broker };

    if (argc != 4) {
        fprintf(stderr, "usage: lid_bench HTTP_PORT MQTT_PORT TOKEN\n");
        return 2;
    }

    http_port = atoi(argv[1]);
    token = argv[3];
    times = mmap(NULL, ASKERS * sizeof(*times), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (times == MAP_FAILED) {
        fatal("mmap");
    }

    robots = robots_start(atoi(argv[2]), times, ASKERS);

    mqtt_open(&broker, atoi(argv[2]), "bench-askers");
    mqtt_subscribe(&broker, "bench/+/events");

    epoll_fd = epoll_create1(0);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, broker.fd, &event) == -1) {
        fatal("epoll_ctl");
    }

    printf("robots %d\n", (int) robots);
    fflush(stdout);

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "%7s %d %d %d %d", kind, &count, &slowest, &gap,
                   &seconds) != 5 || count < 1 || count > ASKERS)
        {
            fprintf(stderr, "lid_bench: not a round: %s", line);
            return 2;
        }

        round_run(kind, count, slowest, gap, seconds);
    }

    kill(robots, SIGTERM);
    waitpid(robots, NULL, 0);

    return 0;
}
