/*
 * MQTT 3.1.1 by hand: no thread between a clock and the socket. Knows QoS 1
 * alone, and a broker that keeps to the protocol.
 */

#include "lid_bench.h"

static unsigned char *mqtt_put(mqtt_t *m, unsigned char head, size_t size);
static unsigned char *mqtt_text(unsigned char *p, const char *text);
static void mqtt_await(mqtt_t *m, unsigned char head);
static size_t mqtt_packet(const mqtt_t *m, size_t at, size_t *ret_body);


void
fatal(const char *what)
{
    fprintf(stderr, "lid_bench: %s: %s\n", what, strerror(errno));
    exit(1);
}


int64_t
now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}


struct timespec
until_us(int64_t at)
{
    int64_t  left = at - now_us();

    if (left < 0) {
        left = 0;
    }

    return (struct timespec) { left / 1000000, left % 1000000 * 1000 };
}


int
tcp_open(int port)
{
    int                 fd, on = 1;
    struct sockaddr_in  address = { .sin_family = AF_INET,
                                    .sin_port = htons((uint16_t) port) };

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1
        || connect(fd, (struct sockaddr *) &address, sizeof(address)) == -1
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == -1)
    {
        fatal("connect");
    }

    return fd;
}


void
mqtt_open(mqtt_t *m, int port, const char *client)
{
    unsigned char              *p;
    static const unsigned char  head[] = { 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0,
                                           0 };

    m->fd = tcp_open(port);
    p = mqtt_put(m, 0x10, sizeof(head) + 2 + strlen(client));
    memcpy(p, head, sizeof(head));
    mqtt_text(p + sizeof(head), client);
    mqtt_await(m, 0x20);
}


void
mqtt_subscribe(mqtt_t *m, const char *filter)
{
    unsigned char  *p;

    p = mqtt_put(m, 0x82, 2 + 2 + strlen(filter) + 1);
    *p++ = 0;
    *p++ = 1;
    p = mqtt_text(p, filter);
    *p = 1;
    mqtt_await(m, 0x90);
}


void
mqtt_publish(mqtt_t *m, const char *topic, const char *payload, size_t len)
{
    unsigned char  *p;

    m->id = m->id == 65535 ? 1 : (uint16_t) (m->id + 1);
    p = mqtt_put(m, 0x32, 2 + strlen(topic) + 2 + len);
    p = mqtt_text(p, topic);
    *p++ = (unsigned char) (m->id >> 8);
    *p++ = (unsigned char) m->id;
    memcpy(p, payload, len);
}


/* Room for a packet's rest. */
static unsigned char *
mqtt_put(mqtt_t *m, unsigned char head, size_t size)
{
    unsigned char  *p;

    if (m->out_len + size + 5 > sizeof(m->out)) {
        mqtt_flush(m);
    }

    p = &m->out[m->out_len];
    m->out_len += size + 1;
    *p++ = head;

    for (size_t left = size; ; left /= 128) {
        *p++ = (unsigned char) (left % 128 | (left > 127 ? 0x80 : 0));
        m->out_len++;

        if (left < 128) {
            return p;
        }
    }
}


static unsigned char *
mqtt_text(unsigned char *p, const char *text)
{
    size_t  len = strlen(text);

    *p++ = (unsigned char) (len >> 8);
    *p++ = (unsigned char) len;

    return (unsigned char *) memcpy(p, text, len) + len;
}


void
mqtt_flush(mqtt_t *m)
{
    ssize_t  n;

    for (size_t sent = 0; sent < m->out_len; sent += (size_t) n) {
        n = send(m->fd, m->out + sent, m->out_len - sent, MSG_NOSIGNAL);

        if (n <= 0) {
            fatal("the broker hung up");
        }
    }

    m->out_len = 0;
}


/* The first packet of a connection or subscription is its answer. */
static void
mqtt_await(mqtt_t *m, unsigned char head)
{
    size_t         size;
    unsigned char  answer[8];

    mqtt_flush(m);
    size = head == 0x20 ? 4 : 5;

    if (recv(m->fd, answer, size, MSG_WAITALL) != (ssize_t) size
        || answer[0] != head || answer[size - 1] > 1)
    {
        errno = EPROTO;
        fatal("the broker refuses");
    }
}


/* Bytes of the packet there, 0 when it is not whole. */
static size_t
mqtt_packet(const mqtt_t *m, size_t at, size_t *ret_body)
{
    size_t  size = 0, i = at + 1;

    for (int shift = 0; i < m->in_len; shift += 7) {
        size |= (size_t) (m->in[i] & 127) << shift;

        if (m->in[i++] < 128) {
            *ret_body = i;
            return i + size <= m->in_len ? i + size - at : 0;
        }
    }

    return 0;
}


void
mqtt_read(mqtt_t *m, mqtt_message_pt message, void *data)
{
    char            topic[256], payload[1024];
    size_t          at, size, body, len, rest;
    ssize_t         n;
    unsigned char  *p;

    n = recv(m->fd, m->in + m->in_len, sizeof(m->in) - m->in_len, 0);
    if (n <= 0) {
        fatal("the broker hung up");
    }

    m->in_len += (size_t) n;

    for (at = 0; (size = mqtt_packet(m, at, &body)) != 0; at += size) {
        if (m->in[at] >> 4 != 3) {
            continue;
        }

        p = &m->in[body];
        len = (size_t) p[0] << 8 | p[1];
        rest = at + size - body - 4 - len;

        if (len >= sizeof(topic) || rest >= sizeof(payload)) {
            continue;
        }

        memcpy(topic, p + 2, len);
        topic[len] = '\0';
        memcpy(payload, p + 4 + len, rest);
        payload[rest] = '\0';

        memcpy(mqtt_put(m, 0x40, 2), p + 2 + len, 2);
        message(data, topic, payload);
    }

    m->in_len -= at;
    memmove(m->in, m->in + at, m->in_len);
}
