/*
 * Requests of those who scan codes, over libcurl's sockets on our epoll. Must
 * never wait: the robot that is to open the lid is served by the same loop.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

#include "http.h"
#include "robot.h"
#include "source.h"

#define SIM_HTTP_TIMEOUT  30L           /* seconds, for one request */
#define SIM_HTTP_BODY     262144        /* bytes of an answer, at most */
#define SIM_HTTP_TOKEN    4096
#define SIM_HTTP_EVENTS   64
#define SIM_DELIVERY_MAX  64

typedef struct sim_scan_s  sim_scan_t;

struct sim_scan_s {
    sim_http_t         *http;
    sim_scan_t         *next, **link;   /* of all under way */
    CURL               *easy;
    bool                looks;          /* for the delivery, else it opens */
    char                serial[SIM_SERIAL_MAX + 1];
    char                delivery[SIM_DELIVERY_MAX + 1];
    char               *body;           /* owned, not NUL-terminated */
    size_t              len;
    void              (*done)(void *data, bool opened);
    void               *data;
};

struct sim_http_s {
    sim_source_t        source;
    const char         *url, *delivery; /* the options', not owned */
    CURLM              *multi;
    struct curl_slist  *headers;
    int                 epoll;          /* libcurl's sockets and the timer */
    int                 timer;
    sim_scan_t         *scans;
    bool                complained;
};

static int sim_http_headers(sim_http_t *http, const char *file);
static int sim_http_socket_cb(CURL *easy, curl_socket_t fd, int what,
    void *data, void *socket_data);
static int sim_http_timer_cb(CURLM *multi, long timeout, void *data);
static void sim_http_handler(sim_source_t *source, uint32_t events);
static void sim_http_read(sim_http_t *http);
static int sim_scan_send(sim_scan_t *scan);
static size_t sim_scan_body_cb(char *text, size_t size, size_t count,
    void *data);
static void sim_scan_end(sim_scan_t *scan, CURLcode rc);
static bool sim_scan_found(sim_scan_t *scan);
static void sim_scan_complain(sim_scan_t *scan, CURLcode rc, long status);
static void sim_scan_destroy(sim_scan_t *scan);


sim_http_t *
sim_http_open(const sim_options_t *options, int epoll)
{
    sim_http_t          *http;
    struct epoll_event   event;

    http = calloc(1, sizeof(*http));
    if (http == NULL) {
        fprintf(stderr, "coco-sim: out of memory\n");
        return NULL;
    }

    http->source.handler = sim_http_handler;
    http->url = options->http;
    http->delivery = options->delivery;
    http->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    http->epoll = epoll_create1(EPOLL_CLOEXEC);
    http->multi = curl_multi_init();

    event.events = EPOLLIN;
    event.data.fd = http->timer;

    if (http->multi == NULL || http->timer == -1 || http->epoll == -1
        || epoll_ctl(http->epoll, EPOLL_CTL_ADD, http->timer, &event) == -1)
    {
        perror("coco-sim: HTTP");
        sim_http_close(http);
        return NULL;
    }

    event.data.ptr = http;

    if (sim_http_headers(http, options->token_file) != 0
        || epoll_ctl(epoll, EPOLL_CTL_ADD, http->epoll, &event) == -1)
    {
        sim_http_close(http);
        return NULL;
    }

    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION,
                      sim_http_socket_cb);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, sim_http_timer_cb);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);

    return http;
}


/* The token stays out of the command line, where everybody could read it. */

static int
sim_http_headers(sim_http_t *http, const char *file)
{
    FILE               *in;
    char                line[SIM_HTTP_TOKEN + 32];
    size_t              len;
    struct curl_slist  *list;

    len = (size_t) sprintf(line, "Authorization: Bearer ");
    in = fopen(file, "r");

    if (in == NULL || fgets(line + len, SIM_HTTP_TOKEN, in) == NULL) {
        fprintf(stderr, "coco-sim: --token-file %s: %s\n", file,
                in == NULL ? strerror(errno) : "is empty");

        if (in != NULL) {
            fclose(in);
        }

        return -1;
    }

    fclose(in);
    line[strcspn(line, "\r\n")] = '\0';

    http->headers = curl_slist_append(NULL, line);
    list = http->headers == NULL ? NULL
           : curl_slist_append(http->headers,
                               "Content-Type: application/json");
    if (list == NULL) {
        fprintf(stderr, "coco-sim: out of memory\n");
        return -1;
    }

    return 0;
}


int
sim_http_scan(sim_http_t *http, const char *serial,
    void (*done)(void *data, bool opened), void *data)
{
    sim_scan_t  *scan;

    scan = calloc(1, sizeof(*scan));
    if (scan == NULL) {
        return -1;
    }

    scan->http = http;
    scan->next = http->scans;
    scan->link = &http->scans;
    scan->done = done;
    scan->data = data;
    snprintf(scan->serial, sizeof(scan->serial), "%s", serial);

    if (http->scans != NULL) {
        http->scans->link = &scan->next;
    }

    http->scans = scan;
    scan->looks = http->delivery == NULL;

    if (!scan->looks) {
        snprintf(scan->delivery, sizeof(scan->delivery), "%s",
                 http->delivery);
    }

    scan->easy = curl_easy_init();

    if (scan->easy == NULL || sim_scan_send(scan) != 0) {
        sim_scan_destroy(scan);
        return -1;
    }

    return 0;
}


void
sim_http_close(sim_http_t *http)
{
    if (http == NULL) {
        return;
    }

    while (http->scans != NULL) {
        sim_scan_destroy(http->scans);
    }

    curl_multi_cleanup(http->multi);
    curl_slist_free_all(http->headers);

    if (http->timer != -1) {
        close(http->timer);
    }

    if (http->epoll != -1) {
        close(http->epoll);
    }

    free(http);
}


static int
sim_http_socket_cb(CURL *easy, curl_socket_t fd, int what, void *data,
    void *socket_data)
{
    sim_http_t          *http = data;
    struct epoll_event   event;

    event.events = (what & CURL_POLL_IN ? EPOLLIN : 0)
                   | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    event.data.fd = fd;

    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(http->epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }

    if (epoll_ctl(http->epoll, EPOLL_CTL_MOD, fd, &event) == -1
        && epoll_ctl(http->epoll, EPOLL_CTL_ADD, fd, &event) == -1)
    {
        return -1;
    }

    return 0;
}


static int
sim_http_timer_cb(CURLM *multi, long timeout, void *data)
{
    sim_http_t         *http = data;
    struct itimerspec   spec;

    /* -1 disarms, as a time of 0 does; "at once" is the least above it. */

    memset(&spec, 0, sizeof(spec));

    if (timeout >= 0) {
        spec.it_value.tv_sec = timeout / 1000;
        spec.it_value.tv_nsec = timeout == 0 ? 1 : timeout % 1000 * 1000000;
    }

    return timerfd_settime(http->timer, 0, &spec, NULL);
}


static void
sim_http_handler(sim_source_t *source, uint32_t events)
{
    int                  i, n, mask, running;
    uint64_t             expired;
    sim_http_t          *http = (sim_http_t *) source;
    struct epoll_event   event[SIM_HTTP_EVENTS];

    n = epoll_wait(http->epoll, event, SIM_HTTP_EVENTS, 0);

    for (i = 0; i < n; i++) {
        if (event[i].data.fd == http->timer) {
            if (read(http->timer, &expired, sizeof(expired)) > 0) {
                curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0,
                                         &running);
            }

            continue;
        }

        mask = (event[i].events & EPOLLIN ? CURL_CSELECT_IN : 0)
               | (event[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0)
               | (event[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR
                                                          : 0);
        curl_multi_socket_action(http->multi, event[i].data.fd, mask,
                                 &running);
    }

    sim_http_read(http);
}


static void
sim_http_read(sim_http_t *http)
{
    int          left;
    CURL        *easy;
    CURLMsg     *message;
    CURLcode     rc;
    sim_scan_t  *scan;

    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }

        /* The message is gone once its handle is taken out. */
        easy = message->easy_handle;
        rc = message->data.result;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &scan);
        curl_multi_remove_handle(http->multi, easy);
        sim_scan_end(scan, rc);
    }
}


static int
sim_scan_send(sim_scan_t *scan)
{
    char   url[2048], body[SIM_DELIVERY_MAX + 32];
    CURL  *easy = scan->easy;

    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, scan);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, SIM_HTTP_TIMEOUT);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, scan->http->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, sim_scan_body_cb);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, scan);

    if (scan->looks) {
        snprintf(url, sizeof(url), "%s/deliveries?serial=%s&limit=50",
                 scan->http->url, scan->serial);

    } else {
        snprintf(url, sizeof(url), "%s/open-lid-for-load", scan->http->url);
        snprintf(body, sizeof(body), "{\"deliveryId\":\"%s\"}",
                 scan->delivery);

        if (curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK) {
            return -1;
        }
    }

    return curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK
           && curl_multi_add_handle(scan->http->multi, easy) == CURLM_OK
           ? 0 : -1;
}


static size_t
sim_scan_body_cb(char *text, size_t size, size_t count, void *data)
{
    char        *grown;
    sim_scan_t  *scan = data;

    size *= count;

    if (scan->len + size > SIM_HTTP_BODY) {
        return 0;
    }

    grown = realloc(scan->body, scan->len + size);

    if (grown == NULL) {
        return 0;
    }

    memcpy(grown + scan->len, text, size);
    scan->body = grown;
    scan->len += size;

    return size;
}


static void
sim_scan_end(sim_scan_t *scan, CURLcode rc)
{
    bool    opened;
    long    status;
    void   *data;
    void  (*done)(void *, bool);

    status = 0;
    curl_easy_getinfo(scan->easy, CURLINFO_RESPONSE_CODE, &status);
    opened = rc == CURLE_OK && status == 200;

    /* A lid that did not open, and a delivery that has gone on, are the
     * backend's plain answers. */

    if (!opened && status != 404 && status != 409 && status != 504) {
        sim_scan_complain(scan, rc, status);
    }

    if (opened && scan->looks) {
        scan->looks = false;

        if (sim_scan_found(scan) && sim_scan_send(scan) == 0) {
            return;
        }

        opened = false;
    }

    done = scan->done;
    data = scan->data;
    sim_scan_destroy(scan);
    done(data, opened);
}


/* The newest of this robot that is to be loaded. */

static bool
sim_scan_found(sim_scan_t *scan)
{
    size_t       i;
    json_t      *list, *item;
    const char  *id, *status;

    list = json_loadb(scan->body ? scan->body : "", scan->len, 0, NULL);
    scan->len = 0;

    json_array_foreach(json_object_get(list, "items"), i, item) {
        id = json_string_value(json_object_get(item, "id"));
        status = json_string_value(json_object_get(item, "status"));

        if (id != NULL && status != NULL && strlen(id) <= SIM_DELIVERY_MAX
            && strpbrk(id, "\"\\") == NULL
            && (strcmp(status, "AtPickup") == 0
                || strcmp(status, "EnrouteToPickup") == 0
                || strcmp(status, "Assigned") == 0))
        {
            strcpy(scan->delivery, id);
            break;
        }
    }

    json_decref(list);

    return scan->delivery[0] != '\0';
}


/* Once: what is wrong with one request is wrong with all. */

static void
sim_scan_complain(sim_scan_t *scan, CURLcode rc, long status)
{
    const char  *what;

    if (scan->http->complained) {
        return;
    }

    scan->http->complained = true;
    what = scan->looks ? "GET" : "POST";

    if (rc != CURLE_OK) {
        fprintf(stderr, "coco-sim: %s %s: %s\n", what, scan->http->url,
                curl_easy_strerror(rc));

    } else {
        fprintf(stderr, "coco-sim: %s %s: status %ld, %.*s\n", what,
                scan->http->url, status,
                (int) (scan->len < 200 ? scan->len : 200),
                scan->body ? scan->body : "");
    }
}


static void
sim_scan_destroy(sim_scan_t *scan)
{
    *scan->link = scan->next;

    if (scan->next != NULL) {
        scan->next->link = scan->link;
    }

    if (scan->easy != NULL) {
        curl_multi_remove_handle(scan->http->multi, scan->easy);
        curl_easy_cleanup(scan->easy);
    }

    free(scan->body);
    free(scan);
}
