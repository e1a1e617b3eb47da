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

#define COCO_CONFIG_LINE  200      /* inih's, with its end */

extern char  **environ;


typedef struct {
    coco_config_t  *config;
    const char     *path;
    FILE           *file;
    FILE           *errors;
    int             line;
    bool            cut;           /* the line was too long */
    unsigned        mistakes;
    int            *lines;         /* where each option was set; 0: not */
} coco_config_reader_t;


static void coco_config_file_read(coco_config_reader_t *r);
static char *coco_config_line(char *buf, int size, void *data);
static int coco_config_pair(void *data, const char *section, const char *key,
    const char *value);
static void coco_config_environment_read(coco_config_reader_t *r);
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
static void coco_config_check(coco_config_reader_t *r);
static void coco_config_filter_check(coco_config_reader_t *r,
    const char *name, const char *filter);
static void coco_config_tls_check(coco_config_reader_t *r);
static void coco_config_postgres_check(coco_config_reader_t *r);
static void coco_config_conninfo_put(FILE *out, const char *key,
    const char *value);


int
coco_config_load(coco_config_t *ret, const char *path, FILE *errors)
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

    if (r.mistakes == 0) {
        coco_config_secrets_read(&r);
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
    char                   name[128], error[256], env[128];
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

    r->lines[i] = r->line;

    if (option->type == COCO_OPTION_SECRET) {
        coco_option_env(env, option);
        coco_config_mistake(r, r->line, name, "a secret does not belong into "
                            "this file; name its own file with %s_file, or "
                            "set %s", name, env);
        return 1;
    }

    if (coco_option_read(option, r->config, value, error, sizeof(error))
        != COCO_OK)
    {
        coco_config_mistake(r, r->line, name, "%s", error);
    }

    return 1;
}


static void
coco_config_environment_read(coco_config_reader_t *r)
{
    char           env[COCO_OPTION_NAME_SIZE + 16], error[256], **variable;
    size_t         i;
    const char    *value;

    for (i = 0; i < coco_options_count; i++) {
        coco_option_env(env, &coco_options[i]);
        value = getenv(env);

        if (value != NULL) {
            r->lines[i] = -1;

            if (coco_option_read(&coco_options[i], r->config, value, error,
                                 sizeof(error)) != COCO_OK)
            {
                coco_config_wrong(r, coco_options[i].name, "%s", error);
            }
        }
    }

    for (variable = environ; *variable != NULL; variable++) {
        coco_config_environment_check(r, *variable);
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
    coco_config_unknown(r, -1, name);
}


/* line -1: the environment; 0: no place known. */
static void
coco_config_mistake(coco_config_reader_t *r, int line, const char *name,
    const char *fmt, ...)
{
    va_list  args;

    r->mistakes++;

    if (line > 0) {
        fprintf(r->errors, "%s:%d: ", r->path, line);
    } else if (line < 0) {
        fprintf(r->errors, "environment: ");
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


/* What no row of the table can say alone. */
static void
coco_config_check(coco_config_reader_t *r)
{
    coco_config_t  *c;

    c = r->config;

    coco_config_filter_check(r, "mqtt.telemetry_filter",
                             c->mqtt_telemetry_filter);
    coco_config_filter_check(r, "mqtt.events_filter", c->mqtt_events_filter);
    coco_config_tls_check(r);
    coco_config_postgres_check(r);

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

    if (c->journal_low_water >= c->journal_high_water) {
        coco_config_wrong(r, "journal.low_water", "must be below "
                          "journal.high_water");
    }

    if (c->redis_port == 0 && c->redis_host[0] != '/') {
        coco_config_wrong(r, "redis.host", "must be the path of a socket "
                          "when redis.port is 0");
    }
}


/* One level is +, which stands for the serial; no other wildcard. */
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
                          "is +, where the serial stands, as in "
                          "robot/+/status", filter);
    }

    if (strncmp(filter, "$share/", 7) == 0) {
        coco_config_wrong(r, name, "name the group in mqtt.shared_group, not "
                          "in the filter");
    }
}


static void
coco_config_tls_check(coco_config_reader_t *r)
{
    FILE    *file;
    size_t   i;

    const struct {
        const char  *name;
        const char  *path;
    }  files[] = {
        { "mqtt.tls_ca_file", r->config->mqtt_tls_ca_file },
        { "mqtt.tls_cert_file", r->config->mqtt_tls_cert_file },
        { "mqtt.tls_key_file", r->config->mqtt_tls_key_file },
    };

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {

        if (files[i].path == NULL) {
            continue;
        }

        if (!r->config->mqtt_tls) {
            coco_config_wrong(r, files[i].name, "has no effect without "
                              "mqtt.tls = on");
        }

        file = fopen(files[i].path, "re");
        if (file == NULL) {
            coco_config_wrong(r, files[i].name, "%s cannot be read: %s",
                              files[i].path, strerror(errno));
            continue;
        }

        fclose(file);
    }

    if (!r->config->mqtt_tls_cert_file != !r->config->mqtt_tls_key_file) {
        coco_config_wrong(r, r->config->mqtt_tls_cert_file
                             ? "mqtt.tls_key_file" : "mqtt.tls_cert_file",
                          "missing; a certificate and its key go together");
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
