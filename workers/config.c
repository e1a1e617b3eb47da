/*
 * Loads the worker's configuration and says what is wrong with it. Must never
 * stop at the first mistake, nor print the value of a secret.
 */

#include <errno.h>
#include <ini.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdlib.h>

#include "config.h"
#include "config_options.h"
#include "services/service.h"
#include "sinks/partners.h"

#define COCO_CONFIG_LINE         200      /* inih's, with its end */

/* Where an option was set, when not in a line of the file. */
#define COCO_CONFIG_ENVIRONMENT  -1
#define COCO_CONFIG_ARGUMENTS    -2

extern char  **environ;


typedef struct {
    coco_config_t  *config;
    const char     *path;
    FILE           *file;
    FILE           *errors;
    int             line;
    bool            cut;           /* the line was too long */
    unsigned        mistakes;
    int            *lines;         /* where each option was set; 0: not,
                                      below 0: COCO_CONFIG_… */
} coco_config_reader_t;


static void coco_config_file_read(coco_config_reader_t *r);
static char *coco_config_line(char *buf, int size, void *data);
static int coco_config_pair(void *data, const char *section, const char *key,
    const char *value);
static void coco_config_environment_read(coco_config_reader_t *r);
static void coco_config_set(coco_config_reader_t *r,
    const coco_option_t *option, const char *value, int line);
static void coco_config_environment_check(coco_config_reader_t *r,
    const char *variable);
static void coco_config_mistake(coco_config_reader_t *r, int line,
    const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void coco_config_wrong(coco_config_reader_t *r, const char *name,
    const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void coco_config_unknown(coco_config_reader_t *r, int line,
    const char *name);
static void coco_config_secrets_read(coco_config_reader_t *r);
static char *coco_config_secret(coco_config_reader_t *r, const char *name,
    const char *path);
static void coco_config_services_read(coco_config_reader_t *r);
static unsigned coco_config_service(const char *word, size_t len);
static void coco_config_check(coco_config_reader_t *r);
static void coco_config_filter_check(coco_config_reader_t *r,
    const char *name, const char *filter);
static void coco_config_tls_check(coco_config_reader_t *r);
static void coco_config_file_check(coco_config_reader_t *r, const char *name,
    const char *path, const char *off);
static void coco_config_bus_check(coco_config_reader_t *r);
static void coco_config_sqs_check(coco_config_reader_t *r);
static void coco_config_url_check(coco_config_reader_t *r, const char *name,
    const char *url);
static void coco_config_partners_check(coco_config_reader_t *r);
static void coco_config_partner_url_check(coco_config_reader_t *r,
    const char *name, const char *url);
static void coco_config_partner_needs(coco_config_reader_t *r,
    const char *url, const char *name, const char *value);
static void coco_config_postgres_check(coco_config_reader_t *r);
static void coco_config_conninfo_put(FILE *out, const char *key,
    const char *value);


static const struct {
    const char  *word;
    unsigned     bit;
}  coco_config_services[] = {
    { "state", COCO_SERVICE_STATE },
    { "operations", COCO_SERVICE_OPERATIONS },
    { "fleet", COCO_SERVICE_FLEET },
    { "deliveries", COCO_SERVICE_DELIVERIES },
    { "dispatch", COCO_SERVICE_DISPATCH },
    { "integrations", COCO_SERVICE_INTEGRATIONS },
    { "mds", COCO_SERVICE_MDS },
};

#define COCO_CONFIG_SERVICES                                                  \
    (sizeof(coco_config_services) / sizeof(coco_config_services[0]))


int
coco_config_load(coco_config_t *ret, const char *path, const char *services,
    FILE *errors)
{
    char                  error[256];
    size_t                i;
    coco_config_reader_t  r;

    memset(&r, 0, sizeof(r));
    memset(ret, 0, sizeof(*ret));

    r.config = ret;
    r.path = path;
    r.errors = errors;
    r.lines = calloc(coco_options_count, sizeof(*r.lines));

    if (r.lines == NULL) {
        fprintf(errors, "out of memory\n");
        return COCO_ERROR;
    }

    for (i = 0; i < coco_options_count; i++) {
        if (coco_option_read(&coco_options[i], ret, coco_options[i].preset,
                             error, sizeof(error)) != COCO_OK)
        {
            coco_config_wrong(&r, coco_options[i].name, "%s", error);
        }
    }

    if (path != NULL) {
        coco_config_file_read(&r);
    }

    coco_config_environment_read(&r);

    if (services != NULL) {
        coco_config_set(&r, coco_option_find("process.services"), services,
                        COCO_CONFIG_ARGUMENTS);
    }

    if (r.mistakes == 0) {
        coco_config_secrets_read(&r);
        coco_config_services_read(&r);
        coco_config_check(&r);
    }

    free(r.lines);

    if (r.mistakes != 0) {
        coco_config_free(ret);
        return COCO_ERROR;
    }

    return COCO_OK;
}


void
coco_config_free(coco_config_t *config)
{
    char    **text;
    size_t    i;

    for (i = 0; i < coco_options_count; i++) {

        if (!coco_option_is_text(&coco_options[i])) {
            continue;
        }

        text = coco_option_value(&coco_options[i], config);

        if (*text != NULL && coco_options[i].type == COCO_OPTION_SECRET) {
            explicit_bzero(*text, strlen(*text));
        }

        free(*text);
        *text = NULL;
    }
}


void
coco_config_print(FILE *out)
{
    char    env[COCO_OPTION_NAME_SIZE + 16];
    size_t  i;

    for (i = 0; i < coco_options_count; i++) {
        coco_option_env(env, &coco_options[i]);
        fprintf(out, "%s\t%s\t%s\t%s\n", coco_options[i].name,
                coco_option_type(&coco_options[i]), coco_options[i].preset,
                env);
    }
}


static void
coco_config_file_read(coco_config_reader_t *r)
{
    int  rc;

    r->file = fopen(r->path, "re");
    if (r->file == NULL) {
        r->mistakes++;
        fprintf(r->errors, "%s: cannot be read: %s; name another file with "
                "-c\n", r->path, strerror(errno));
        return;
    }

    rc = ini_parse_stream(coco_config_line, r, coco_config_pair, r);

    if (rc > 0) {
        coco_config_mistake(r, rc, NULL, "not a [section], a \"key = value\" "
                            "or a comment that starts with # or ;");
    } else if (rc < 0 || ferror(r->file)) {
        coco_config_mistake(r, r->line, NULL, "cannot be read");
    }

    fclose(r->file);
}


/* For inih, which tells its handler no line numbers. An indented line would
 * be the value above going on: it is taken as a line of its own instead. */
static char *
coco_config_line(char *buf, int size, void *data)
{
    int                    c;
    char                  *start;
    size_t                 len;
    coco_config_reader_t  *r;

    r = data;

    if (fgets(buf, size, r->file) == NULL) {
        return NULL;
    }

    r->line++;
    r->cut = false;
    len = strlen(buf);

    if (len == (size_t) size - 1 && buf[len - 1] != '\n') {

        while ((c = getc(r->file)) != EOF && c != '\n') {
            r->cut = true;
        }

        if (r->cut) {
            coco_config_mistake(r, r->line, NULL, "longer than %d bytes; put "
                                "the value into its environment variable",
                                COCO_CONFIG_LINE - 2);
        }
    }

    start = buf + strspn(buf, " \t");
    memmove(buf, start, strlen(start) + 1);

    return buf;
}


static int
coco_config_pair(void *data, const char *section, const char *key,
    const char *value)
{
    char                   name[128], env[128];
    size_t                 i;
    const coco_option_t   *option;
    coco_config_reader_t  *r;

    r = data;

    if (r->cut) {
        return 1;
    }

    snprintf(name, sizeof(name), "%s.%s", section, key);

    option = coco_option_find(name);
    if (option == NULL) {
        coco_config_unknown(r, r->line, name);
        return 1;
    }

    i = (size_t) (option - coco_options);

    if (r->lines[i] != 0) {
        coco_config_mistake(r, r->line, name, "already set in line %d; remove "
                            "one of the two", r->lines[i]);
        return 1;
    }

    if (option->type == COCO_OPTION_SECRET) {
        coco_option_env(env, option);
        coco_config_mistake(r, r->line, name, "a secret does not belong into "
                            "this file; name its own file with %s_file, or "
                            "set %s", name, env);
        return 1;
    }

    coco_config_set(r, option, value, r->line);

    return 1;
}


static void
coco_config_environment_read(coco_config_reader_t *r)
{
    char           env[COCO_OPTION_NAME_SIZE + 16], **variable;
    size_t         i;
    const char    *value;

    for (i = 0; i < coco_options_count; i++) {
        coco_option_env(env, &coco_options[i]);
        value = getenv(env);

        if (value != NULL) {
            coco_config_set(r, &coco_options[i], value,
                            COCO_CONFIG_ENVIRONMENT);
        }
    }

    for (variable = environ; *variable != NULL; variable++) {
        coco_config_environment_check(r, *variable);
    }
}


static void
coco_config_set(coco_config_reader_t *r, const coco_option_t *option,
    const char *value, int line)
{
    char  error[256];

    r->lines[option - coco_options] = line;

    if (coco_option_read(option, r->config, value, error, sizeof(error))
        != COCO_OK)
    {
        coco_config_wrong(r, option->name, "%s", error);
    }
}


/* A variable of one of our sections that is no option is a mistyping. */
static void
coco_config_environment_check(coco_config_reader_t *r, const char *variable)
{
    char    name[128], env[COCO_OPTION_NAME_SIZE + 16];
    size_t  i, len, section;
    bool    ours;

    len = strcspn(variable, "=");
    ours = false;

    for (i = 0; i < coco_options_count; i++) {
        coco_option_env(env, &coco_options[i]);

        if (len == strlen(env) && memcmp(env, variable, len) == 0) {
            return;
        }

        section = sizeof("COCO_WORKER_")
                  + strcspn(coco_options[i].name, ".");

        if (len > section && memcmp(env, variable, section) == 0) {
            ours = true;
        }
    }

    if (!ours || len >= sizeof(name)) {
        return;
    }

    section = strcspn(variable + sizeof("COCO_WORKER_") - 1, "_");
    len -= sizeof("COCO_WORKER_") - 1;

    for (i = 0; i < len; i++) {
        name[i] = variable[sizeof("COCO_WORKER_") - 1 + i];
        name[i] |= name[i] >= 'A' && name[i] <= 'Z' ? 0x20 : 0;
    }

    name[section] = '.';
    name[len] = '\0';
    coco_config_unknown(r, COCO_CONFIG_ENVIRONMENT, name);
}


/* line 0: no place known. */
static void
coco_config_mistake(coco_config_reader_t *r, int line, const char *name,
    const char *fmt, ...)
{
    va_list  args;

    r->mistakes++;

    if (line > 0) {
        fprintf(r->errors, "%s:%d: ", r->path, line);
    } else if (line < 0) {
        fprintf(r->errors, line == COCO_CONFIG_ARGUMENTS
                           ? "arguments: " : "environment: ");
    } else if (r->path != NULL) {
        fprintf(r->errors, "%s: ", r->path);
    }

    if (name != NULL) {
        fprintf(r->errors, "%s: ", name);
    }

    va_start(args, fmt);
    vfprintf(r->errors, fmt, args);
    va_end(args);

    fputc('\n', r->errors);
}


/* Of an option of ours, at the place where it was set. */
static void
coco_config_wrong(coco_config_reader_t *r, const char *name, const char *fmt,
    ...)
{
    int                   line;
    char                  text[512];
    va_list               args;
    const coco_option_t  *option;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    option = coco_option_find(name);
    line = option ? r->lines[option - coco_options] : 0;
    coco_config_mistake(r, line, name, "%s", text);
}


static void
coco_config_unknown(coco_config_reader_t *r, int line, const char *name)
{
    const coco_option_t  *nearest;

    nearest = coco_option_nearest(name);

    if (nearest != NULL) {
        coco_config_mistake(r, line, name, "no such option; did you mean %s?",
                            nearest->name);
    } else {
        coco_config_mistake(r, line, name, "no such option; coco-worker "
                            "--print-options lists them all");
    }
}


static void
coco_config_secrets_read(coco_config_reader_t *r)
{
    size_t  i;

    const struct {
        const char   *name;
        const char   *path;
        char        **secret;
    }  secrets[] = {
        { "mqtt.password_file", r->config->mqtt_password_file,
          &r->config->mqtt_password },
        { "postgres.password_file", r->config->postgres_password_file,
          &r->config->postgres_password },
        { "redis.password_file", r->config->redis_password_file,
          &r->config->redis_password },
        { "rabbitmq.password_file", r->config->rabbitmq_password_file,
          &r->config->rabbitmq_password },
        { "uber.client_secret_file", r->config->uber_client_secret_file,
          &r->config->uber_client_secret },
        { "doordash.signing_secret_file",
          r->config->doordash_signing_secret_file,
          &r->config->doordash_signing_secret },
    };

    for (i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        /* the environment's goes first */
        if (secrets[i].path != NULL && *secrets[i].secret == NULL) {
            *secrets[i].secret = coco_config_secret(r, secrets[i].name,
                                                    secrets[i].path);
        }
    }
}


/* The first line of a file. */
static char *
coco_config_secret(coco_config_reader_t *r, const char *name,
    const char *path)
{
    FILE    *file;
    char    *secret;
    size_t   size;
    ssize_t  len;

    file = fopen(path, "re");
    if (file == NULL) {
        coco_config_wrong(r, name, "%s cannot be read: %s", path,
                          strerror(errno));
        return NULL;
    }

    size = 0;
    secret = NULL;
    len = getline(&secret, &size, file);
    fclose(file);

    if (len > 0) {
        secret[strcspn(secret, "\r\n")] = '\0';
    }

    if (len <= 0 || secret[0] == '\0') {
        coco_config_wrong(r, name, "%s is empty; write the password into its "
                          "first line", path);
        free(secret);
        return NULL;
    }

    return secret;
}


static void
coco_config_services_read(coco_config_reader_t *r)
{
    char         known[128];
    size_t       i, len;
    unsigned     bit;
    const char  *p;

    known[0] = '\0';

    for (i = 0; i < COCO_CONFIG_SERVICES; i++) {
        strcat(known, " ");
        strcat(known, coco_config_services[i].word);
    }

    for (p = r->config->services; /* void */ ; p += len + 1) {
        len = strcspn(p, ",");
        bit = coco_config_service(p, len);

        if (bit == 0) {
            coco_config_wrong(r, "process.services", "\"%.*s\" is none of: "
                              "all%s; several are separated by a comma, "
                              "without blanks", (int) len, p, known);
            r->config->service_bits = 0;
            return;
        }

        r->config->service_bits |= bit;

        if (p[len] == '\0') {
            return;
        }
    }
}


static unsigned
coco_config_service(const char *word, size_t len)
{
    size_t  i;

    if (len == 3 && memcmp(word, "all", 3) == 0) {
        return COCO_SERVICES_ALL;
    }

    for (i = 0; i < COCO_CONFIG_SERVICES; i++) {
        if (strlen(coco_config_services[i].word) == len
            && memcmp(coco_config_services[i].word, word, len) == 0)
        {
            return coco_config_services[i].bit;
        }
    }

    return 0;
}


/* What no row of the table can say alone. */
static void
coco_config_check(coco_config_reader_t *r)
{
    coco_config_t  *c;

    c = r->config;

    coco_config_filter_check(r, "mqtt.telemetry_filter",
                             c->mqtt_telemetry_filter);
    coco_config_filter_check(r, "mqtt.events_filter", c->mqtt_events_filter);
    coco_config_filter_check(r, "commands.topic", c->commands_topic);
    coco_config_filter_check(r, "commands.shadow_topic",
                             c->commands_shadow_topic);
    coco_config_tls_check(r);
    coco_config_postgres_check(r);
    coco_config_bus_check(r);
    coco_config_sqs_check(r);
    coco_config_partners_check(r);

    if (c->mqtt_shared_group && strpbrk(c->mqtt_shared_group, "/+#")) {
        coco_config_wrong(r, "mqtt.shared_group", "must not hold /, + or #");
    }

    if (c->mqtt_password && c->mqtt_username == NULL) {
        coco_config_wrong(r, "mqtt.username", "missing; the broker takes a "
                          "password with a user name only");
    }

    if (c->mqtt_reconnect_min > c->mqtt_reconnect_max) {
        coco_config_wrong(r, "mqtt.reconnect_min", "must not be above "
                          "mqtt.reconnect_max");
    }

    if (c->lid_window >= c->lid_cycle_timeout) {
        coco_config_wrong(r, "lid.window", "must be below "
                          "lid.cycle_timeout");
    }

    if (c->janitor_command_days * 24 < c->janitor_idempotency_hours) {
        coco_config_wrong(r, "janitor.command_days", "an Idempotency-Key "
                          "would outlive its command; keep commands for the "
                          "%d hours of janitor.idempotency_hours at least",
                          (int) c->janitor_idempotency_hours);
    }

    if (c->journal_low_water >= c->journal_high_water) {
        coco_config_wrong(r, "journal.low_water", "must be below "
                          "journal.high_water");
    }

    if (c->redis_port == 0 && c->redis_host[0] != '/') {
        coco_config_wrong(r, "redis.host", "must be the path of a socket "
                          "when redis.port is 0");
    }
}


/* One level is +, which stands for the serial; no other wildcard. A filter, or
 * a topic to publish to. */
static void
coco_config_filter_check(coco_config_reader_t *r, const char *name,
    const char *filter)
{
    const char  *plus;

    plus = strchr(filter, '+');

    if (plus == NULL || strpbrk(plus + 1, "+#") || strchr(filter, '#')
        || (plus != filter && plus[-1] != '/')
        || (plus[1] != '/' && plus[1] != '\0'))
    {
        coco_config_wrong(r, name, "\"%s\" must have exactly one level that "
                          "is +, where the serial stands, as in %s", filter,
                          coco_option_find(name)->preset);
    }

    if (strncmp(filter, "$share/", 7) == 0) {
        coco_config_wrong(r, name, "name the group in mqtt.shared_group, not "
                          "in the filter");
    }
}


static void
coco_config_tls_check(coco_config_reader_t *r)
{
    coco_config_t  *c;

    c = r->config;

    coco_config_file_check(r, "mqtt.tls_ca_file", c->mqtt_tls_ca_file,
                           c->mqtt_tls ? NULL : "mqtt.tls");
    coco_config_file_check(r, "mqtt.tls_cert_file", c->mqtt_tls_cert_file,
                           c->mqtt_tls ? NULL : "mqtt.tls");
    coco_config_file_check(r, "mqtt.tls_key_file", c->mqtt_tls_key_file,
                           c->mqtt_tls ? NULL : "mqtt.tls");
    coco_config_file_check(r, "rabbitmq.tls_ca_file",
                           c->rabbitmq_tls_ca_file,
                           c->rabbitmq_tls ? NULL : "rabbitmq.tls");

    if (!c->mqtt_tls_cert_file != !c->mqtt_tls_key_file) {
        coco_config_wrong(r, c->mqtt_tls_cert_file ? "mqtt.tls_key_file"
                                                   : "mqtt.tls_cert_file",
                          "missing; a certificate and its key go together");
    }
}


/* off: the option without which the file has no effect; NULL: it is on. */
static void
coco_config_file_check(coco_config_reader_t *r, const char *name,
    const char *path, const char *off)
{
    FILE  *file;

    if (path == NULL) {
        return;
    }

    if (off != NULL) {
        coco_config_wrong(r, name, "has no effect without %s = on", off);
    }

    file = fopen(path, "re");

    if (file == NULL) {
        coco_config_wrong(r, name, "%s cannot be read: %s", path,
                          strerror(errno));
        return;
    }

    fclose(file);
}


static void
coco_config_bus_check(coco_config_reader_t *r)
{
    unsigned        services;
    coco_config_t  *c;

    c = r->config;
    services = c->service_bits & COCO_SERVICES_BUS;

    if (services != 0 && services != COCO_SERVICES_BUS && c->bus_engines == 0)
    {
        coco_config_wrong(r, "process.services", "\"%s\" leaves services to "
                          "other processes, which no bus reaches; set "
                          "bus.engines to rabbitmq or kafka, or name all",
                          c->services);
    }

    if (c->kafka_feeds_fleet && (c->bus_engines & COCO_BUS_KAFKA) == 0) {
        coco_config_wrong(r, "kafka.feeds_fleet", "nothing writes the "
                          "telemetry topic without kafka in bus.engines; add "
                          "it there, or turn this off");
    }
}


static void
coco_config_sqs_check(coco_config_reader_t *r)
{
    coco_config_t  *c;

    c = r->config;

    coco_config_url_check(r, "sqs.endpoint", c->sqs_endpoint);
    coco_config_url_check(r, "sqs.events_queue_url",
                          c->sqs_queue_url[COCO_CONFIG_SQS_EVENTS]);
    coco_config_url_check(r, "sqs.state_queue_url",
                          c->sqs_queue_url[COCO_CONFIG_SQS_STATE]);
    coco_config_url_check(r, "sqs.connectivity_queue_url",
                          c->sqs_queue_url[COCO_CONFIG_SQS_CONNECTIVITY]);
}


/* AWS's own addresses hold the region, which goes into the signature. */
static void
coco_config_url_check(coco_config_reader_t *r, const char *name,
    const char *url)
{
    size_t       len;
    const char  *host, *region;

    static const char  aws[] = "https://sqs.";

    if (url == NULL) {
        return;
    }

    region = r->config->sqs_region;

    if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0) {
        coco_config_wrong(r, name, "\"%s\" must begin with https:// or "
                          "http://, as in https://sqs.%s.amazonaws.com/"
                          "123456789012/robots", url, region);
        return;
    }

    if (strncmp(url, aws, sizeof(aws) - 1) != 0) {
        return;
    }

    host = url + sizeof(aws) - 1;
    len = strcspn(host, "./");

    if (strncmp(host + len, ".amazonaws.com", 14) == 0
        && (strlen(region) != len || memcmp(host, region, len) != 0))
    {
        coco_config_wrong(r, name, "is in the region %.*s; sqs.region says "
                          "%s", (int) len, host, region);
    }
}


static void
coco_config_partners_check(coco_config_reader_t *r)
{
    char                 error[512], *text;
    coco_config_t       *c;
    coco_partner_map_t   maps[COCO_PARTNERS];

    c = r->config;

    coco_config_partner_url_check(r, "uber.base_url", c->uber_base_url);
    coco_config_partner_url_check(r, "uber.oauth_url", c->uber_oauth_url);
    coco_config_partner_url_check(r, "doordash.base_url",
                                  c->doordash_base_url);
    coco_config_file_check(r, "partners.tls_ca_file", c->partners_tls_ca_file,
                           NULL);

    coco_config_partner_needs(r, c->uber_base_url, "uber.client_id",
                              c->uber_client_id);
    coco_config_partner_needs(r, c->uber_base_url, "uber.client_secret_file",
                              c->uber_client_secret);
    coco_config_partner_needs(r, c->doordash_base_url,
                              "doordash.developer_id",
                              c->doordash_developer_id);
    coco_config_partner_needs(r, c->doordash_base_url, "doordash.key_id",
                              c->doordash_key_id);
    coco_config_partner_needs(r, c->doordash_base_url,
                              "doordash.signing_secret_file",
                              c->doordash_signing_secret);

    if (c->partners_retry_min > c->partners_retry_max) {
        coco_config_wrong(r, "partners.retry_min", "must not be above "
                          "partners.retry_max");
    }

    if (c->uber_base_url == NULL && c->doordash_base_url == NULL) {
        return;
    }

    if (coco_partners_map_load(maps, &text, c->partners_map, error,
                               sizeof(error)) == COCO_OK)
    {
        free(text);
    } else {
        coco_config_wrong(r, "partners.map", "%s", error);
    }
}


static void
coco_config_partner_url_check(coco_config_reader_t *r, const char *name,
    const char *url)
{
    if (url != NULL && strncmp(url, "https://", 8) != 0
        && strncmp(url, "http://", 7) != 0)
    {
        coco_config_wrong(r, name, "\"%s\" must begin with https:// or "
                          "http://", url);
    }
}


static void
coco_config_partner_needs(coco_config_reader_t *r, const char *url,
    const char *name, const char *value)
{
    if (url != NULL && value == NULL) {
        coco_config_wrong(r, name, "missing; calls to %s have to show who we "
                          "are", url);
    }
}


/* Adds the password, whichever form the connection string has. */
static void
coco_config_postgres_check(coco_config_reader_t *r)
{
    char              *error, *text;
    FILE              *out;
    size_t             len;
    PQconninfoOption  *options, *o;

    error = NULL;
    options = PQconninfoParse(r->config->postgres_conninfo, &error);

    if (options == NULL) {
        coco_config_wrong(r, "postgres.conninfo", "not a connection string: "
                          "%s", error ? strtok(error, "\n") : "no memory");
        PQfreemem(error);
        return;
    }

    text = NULL;
    out = open_memstream(&text, &len);

    for (o = options; out != NULL && o->keyword != NULL; o++) {

        if (strcmp(o->keyword, "password") == 0) {
            if (o->val != NULL) {
                coco_config_wrong(r, "postgres.conninfo", "a password does "
                                  "not belong here; name its file with "
                                  "postgres.password_file, or set "
                                  "COCO_WORKER_POSTGRES_PASSWORD");
            }
            coco_config_conninfo_put(out, o->keyword,
                                     r->config->postgres_password);
            continue;
        }

        coco_config_conninfo_put(out, o->keyword, o->val);
    }

    PQconninfoFree(options);

    if (out == NULL || fclose(out) != 0) {
        coco_config_wrong(r, "postgres.conninfo", "out of memory");
        free(text);
        return;
    }

    free(r->config->postgres_conninfo);
    r->config->postgres_conninfo = text;
}


static void
coco_config_conninfo_put(FILE *out, const char *key, const char *value)
{
    if (value == NULL) {
        return;
    }

    fprintf(out, "%s%s='", ftell(out) == 0 ? "" : " ", key);

    for (/* void */ ; *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\') {
            fputc('\\', out);
        }
        fputc(*value, out);
    }

    fputc('\'', out);
}
