/*
 * The configuration: what is read, and what each mistake is called.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "config.h"
#include "config_options.h"
#include "services/service.h"
#include "sources/topic.h"


static char           path[64], secret[64];
static char          *said;
static const char    *services;          /* the argument */
static coco_config_t  config;


static int
setup(void **state)
{
    int  fd, other;

    strcpy(path, "/tmp/coco-config-XXXXXX");
    strcpy(secret, "/tmp/coco-secret-XXXXXX");
    fd = mkstemp(path);
    other = mkstemp(secret);
    close(fd);
    close(other);
    said = NULL;

    return fd == -1 || other == -1 ? -1 : 0;
}


static int
teardown(void **state)
{
    free(said);
    unlink(secret);

    return unlink(path);
}


static void
put(const char *file, const char *text)
{
    FILE  *out;

    out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}


static int
load(const char *text)
{
    int     rc;
    FILE   *out;
    size_t  len;

    put(path, text);
    free(said);
    out = open_memstream(&said, &len);
    assert_non_null(out);
    rc = coco_config_load(&config, path, services, out);
    fclose(out);

    return rc;
}


/* The text is refused, with this line after the file's name. */
static void
refused(const char *text, const char *line)
{
    char  wanted[512];

    assert_int_equal(load(text), COCO_ERROR);
    snprintf(wanted, sizeof(wanted), "%s:%s", path, line);

    if (strncmp(said, wanted, strlen(wanted)) != 0) {
        fail_msg("wanted: %s\nsaid:   %s", wanted, said);
    }
}


static void
test_defaults(void **state)
{
    assert_int_equal(load(""), COCO_OK);
    assert_string_equal(said, "");
    assert_int_equal(config.mqtt_port, 8081);
    assert_int_equal(config.mqtt_keep_alive, 30000);
    assert_int_equal(config.journal_segment_size, 64 << 20);
    assert_int_equal(config.mqtt_session_expiry, UINT32_MAX);
    assert_int_equal(config.log_level, 2);
    assert_null(config.mqtt_username);
    assert_non_null(strstr(config.postgres_conninfo, "port='8083'"));
    coco_config_free(&config);
}


static void
test_file(void **state)
{
    assert_int_equal(load("# c\n; c\n[mqtt]\n  port=1 ; why\n\thost = ::1\n"
                          "version = 3.1.1\n tls = on\n"
                          "[telemetry]\nlinger = 1m\nbatch_bytes = 2k\n"
                          "shards = 64"), COCO_OK);
    assert_int_equal(config.mqtt_port, 1);
    assert_string_equal(config.mqtt_host, "::1");
    assert_int_equal(config.mqtt_version, 1);
    assert_int_equal(config.mqtt_tls, 1);
    assert_int_equal(config.telemetry.linger, 60000);
    assert_int_equal(config.telemetry.batch_bytes, 2048);
    assert_int_equal(config.telemetry.shards, 64);
    coco_config_free(&config);
}


static void
test_environment(void **state)
{
    setenv("COCO_WORKER_MQTT_PORT", "7", 1);
    setenv("COCO_WORKER_POSTGRES_PASSWORD", "a'b\\c", 1);
    assert_int_equal(load("[mqtt]\nport = 5\n"), COCO_OK);
    assert_int_equal(config.mqtt_port, 7);
    assert_non_null(strstr(config.postgres_conninfo,
                           "password='a\\'b\\\\c'"));
    coco_config_free(&config);

    setenv("COCO_WORKER_MQTT_PORT", "0", 1);
    assert_int_equal(load(""), COCO_ERROR);
    assert_string_equal(said, "environment: mqtt.port: \"0\" is not between "
                        "1 and 65535\n");

    setenv("COCO_WORKER_MQTT_PORT", "1", 1);
    setenv("COCO_WORKER_MQTT_KEEPALIVE", "1s", 1);
    assert_int_equal(load(""), COCO_ERROR);
    assert_string_equal(said, "environment: mqtt.keepalive: no such option; "
                        "did you mean mqtt.keep_alive?\n");

    unsetenv("COCO_WORKER_MQTT_PORT");
    unsetenv("COCO_WORKER_MQTT_KEEPALIVE");
    unsetenv("COCO_WORKER_POSTGRES_PASSWORD");
}


static void
test_secrets(void **state)
{
    char  text[512];

    put(secret, "s3cret\r\nsecond line\n");
    snprintf(text, sizeof(text), "[mqtt]\nusername=u\npassword_file=%s\n"
             "[redis]\npassword_file=%s\n[postgres]\n"
             "conninfo=postgresql://coco@127.0.0.1/coco\npassword_file=%s\n",
             secret, secret, secret);
    assert_int_equal(load(text), COCO_OK);
    assert_string_equal(config.mqtt_password, "s3cret");
    assert_string_equal(config.redis_password, "s3cret");
    assert_non_null(strstr(config.postgres_conninfo, "password='s3cret'"));
    coco_config_free(&config);

    put(secret, "\n");
    assert_int_equal(load(text), COCO_ERROR);
    assert_non_null(strstr(said, ":3: mqtt.password_file: "));
    assert_non_null(strstr(said, " is empty; write the password"));

    refused("[mqtt]\npassword = hush\n", "2: mqtt.password: a secret does not "
            "belong into this file; name its own file with "
            "mqtt.password_file, or set COCO_WORKER_MQTT_PASSWORD\n");
    assert_null(strstr(said, "hush"));

    refused("[postgres]\nconninfo = host=/tmp password=hush\n",
            "2: postgres.conninfo: a password does not belong here");
    assert_null(strstr(said, "hush"));
}


static void
test_mistakes(void **state)
{
    char  text[600];

    refused("[mqtt]\nprot = 1\n",
            "2: mqtt.prot: no such option; did you mean mqtt.port?\n");
    refused("[lane]\nshards = 1\n",
            "2: lane.shards: no such option; did you mean bus.shards?\n");
    refused("[x]\nanything_at_all = 1\n", "2: x.anything_at_all: no such "
            "option; coco-worker --print-options lists them all\n");
    refused("[mqtt]\n\nport = 8x\n",
            "3: mqtt.port: \"8x\" is not a whole number\n");
    refused("[mqtt]\nport = -1\n",
            "2: mqtt.port: \"-1\" is not a whole number\n");
    refused("[mqtt]\nport = 65536\n",
            "2: mqtt.port: \"65536\" is not between 1 and 65535\n");
    refused("[mqtt]\nport = 99999999999999999999999\n",
            "2: mqtt.port: \"99999999999999999999999\" is not between");
    refused("[mqtt]\nkeep_alive = 30\n", "2: mqtt.keep_alive: \"30\" is not a "
            "duration: a whole number with its unit, ms, s, m, h or d, as in "
            "30s\n");
    refused("[mqtt]\nkeep_alive = 2d\n",
            "2: mqtt.keep_alive: \"2d\" is not between 1s and 1h\n");
    refused("[journal]\nhigh_water = 18014398509481984k\n",
            "2: journal.high_water: \"18014398509481984k\" is not between 4k "
            "and 1024G\n");
    refused("[journal]\nsync = allways\n", "2: journal.sync: \"allways\" is "
            "none of: none interval always\n");
    refused("[journal]\nsync = no\n", "2: journal.sync: \"no\" is none of");
    refused("[mqtt]\nhost =\n", "2: mqtt.host: must not be empty; the default "
            "is 127.0.0.1\n");
    refused("[mqtt]\nhost = \"h\"\n",
            "2: mqtt.host: write the value without quotes\n");
    refused("[mqtt]\nport = 1\nport = 2\n",
            "3: mqtt.port: already set in line 2");
    refused("[mqtt]\n\nnonsense\n", "3: not a [section]");

    /* a long line is one line */
    memset(text, 'x', 500);
    memcpy(text, "[mqtt]\nhost = ", 14);
    strcpy(text + 400, "\nprot = 1\n");
    refused(text, "2: longer than 198 bytes; put the value into its "
            "environment variable\n");
    assert_non_null(strstr(said, ":3: mqtt.prot: no such option"));
}


static void
test_combinations(void **state)
{
    refused("[mqtt]\ntelemetry_filter = robot/#\n",
            "2: mqtt.telemetry_filter: \"robot/#\" must have exactly one "
            "level that is +, where the serial stands, as in "
            "robot/+/status\n");
    refused("[mqtt]\nevents_filter = a/+/+\n", "2: mqtt.events_filter: ");
    refused("[mqtt]\nevents_filter = a/b+/c\n", "2: mqtt.events_filter: ");
    refused("[commands]\ntopic = robot/commands\n",
            "2: commands.topic: \"robot/commands\" must have exactly one "
            "level that is +, where the serial stands, as in "
            "robot/+/commands\n");
    refused("[commands]\nshadow_topic = $aws/things/+/shadow/#\n",
            "2: commands.shadow_topic: ");
    assert_int_equal(load("[commands]\n"
                          "shadow_topic = $aws/things/+/shadow/update\n"),
                     COCO_OK);
    coco_config_free(&config);
    refused("[lid]\nwindow = 2s\ncycle_timeout = 2s\n",
            "2: lid.window: must be below lid.cycle_timeout\n");
    refused("[janitor]\ncommand_days = 1\nidempotency_hours = 25\n",
            "2: janitor.command_days: an Idempotency-Key would outlive its "
            "command; keep commands for the 25 hours of "
            "janitor.idempotency_hours at least\n");
    refused("[mqtt]\nshared_group = a/b\n", "2: mqtt.shared_group: ");
    refused("[journal]\nlow_water = 2G\n",
            "2: journal.low_water: must be below journal.high_water\n");
    refused("[mqtt]\nreconnect_min = 1m\n", "2: mqtt.reconnect_min: ");
    refused("[mqtt]\ntls_ca_file = /etc/passwd\n",
            "2: mqtt.tls_ca_file: has no effect without mqtt.tls = on\n");
    refused("[mqtt]\ntls = on\ntls_ca_file = /nowhere\n",
            "3: mqtt.tls_ca_file: /nowhere cannot be read: No such file");
    refused("[postgres]\nconninfo = what\n",
            "2: postgres.conninfo: not a connection string: missing \"=\"");

    assert_int_equal(load("[redis]\nport = 0\n"), COCO_ERROR);
    assert_non_null(strstr(said, "redis.host: must be the path"));
    assert_int_equal(load("[redis]\nport = 0\nhost = /run/r.sock\n"),
                     COCO_OK);
    coco_config_free(&config);
}


static void
test_services(void **state)
{
    assert_int_equal(load(""), COCO_OK);
    assert_int_equal(config.service_bits, COCO_SERVICES_ALL);
    coco_config_free(&config);

    assert_int_equal(load("[process]\nservices = fleet,operations\n"
                          "[bus]\nengines = rabbitmq\n"), COCO_OK);
    assert_int_equal(config.service_bits,
                     COCO_SERVICE_FLEET | COCO_SERVICE_OPERATIONS);
    coco_config_free(&config);

    /* all that a bus would connect, or none of them, need none */
    assert_int_equal(load("[process]\nservices = "
                          "state,operations,fleet,deliveries,dispatch\n"),
                     COCO_OK);
    assert_int_equal(config.service_bits, COCO_SERVICES_BUS);
    coco_config_free(&config);
    assert_int_equal(load("[process]\nservices = integrations,mds\n"),
                     COCO_OK);
    assert_int_equal(config.service_bits,
                     COCO_SERVICE_INTEGRATIONS | COCO_SERVICE_MDS);
    coco_config_free(&config);

    refused("[process]\nservices = state,flete\n", "2: process.services: "
            "\"flete\" is none of: all state operations fleet deliveries "
            "dispatch integrations mds; several are separated by a comma, "
            "without blanks\n");
    refused("[process]\nservices = state,\n",
            "2: process.services: \"\" is none of: ");
    refused("[process]\nservices = state, fleet\n",
            "2: process.services: \" fleet\" is none of: ");
    refused("[process]\nservices = state\n", "2: process.services: \"state\" "
            "leaves services to other processes, which no bus reaches; set "
            "bus.engines to rabbitmq or kafka, or name all\n");

    /* the argument goes first */
    services = "planner";
    setenv("COCO_WORKER_PROCESS_SERVICES", "fleet", 1);
    assert_int_equal(load("[process]\nservices = state\n"), COCO_ERROR);
    assert_ptr_equal(said, strstr(said, "arguments: process.services: "
                                  "\"planner\" is none of: all state "));

    services = "all";
    assert_int_equal(load("[process]\nservices = state\n"), COCO_OK);
    assert_int_equal(config.service_bits, COCO_SERVICES_ALL);
    coco_config_free(&config);

    services = NULL;
    unsetenv("COCO_WORKER_PROCESS_SERVICES");
}


static void
test_bus_and_queues(void **state)
{
    char  text[512];

    refused("[kafka]\nfeeds_fleet = on\n[bus]\nengines = rabbitmq\n",
            "2: kafka.feeds_fleet: nothing writes the telemetry topic "
            "without kafka in bus.engines; ");
    refused("[bus]\nengines = kafka rabbitmq\n", "2: bus.engines: \"kafka "
            "rabbitmq\" is none of: none rabbitmq kafka rabbitmq,kafka\n");
    refused("[rabbitmq]\ntls_ca_file = /etc/passwd\n", "2: "
            "rabbitmq.tls_ca_file: has no effect without rabbitmq.tls = on\n");

    put(secret, "s3cret\n");
    snprintf(text, sizeof(text), "[rabbitmq]\npassword_file = %s\n"
             "[bus]\nengines = rabbitmq,kafka\n[kafka]\nfeeds_fleet = on\n",
             secret);
    assert_int_equal(load(text), COCO_OK);
    assert_string_equal(config.rabbitmq_password, "s3cret");
    assert_int_equal(config.bus_engines, COCO_BUS_RABBITMQ | COCO_BUS_KAFKA);
    coco_config_free(&config);

    refused("[sqs]\nstate_queue_url = robots\n", "2: sqs.state_queue_url: "
            "\"robots\" must begin with https:// or http://, as in "
            "https://sqs.us-east-1.amazonaws.com/123456789012/robots\n");
    refused("[sqs]\nregion = eu-west-1\nevents_queue_url = "
            "https://sqs.us-east-1.amazonaws.com/1/q\n",
            "3: sqs.events_queue_url: is in the region us-east-1; sqs.region "
            "says eu-west-1\n");
    assert_int_equal(load("[sqs]\nregion = eu-west-1\nevents_queue_url = "
                          "https://sqs.eu-west-1.amazonaws.com/1/q\n"
                          "endpoint = http://127.0.0.1:1\n"), COCO_OK);
    coco_config_free(&config);
}


static void
test_no_file(void **state)
{
    size_t  len;
    FILE   *out;

    out = open_memstream(&said, &len);
    assert_int_equal(coco_config_load(&config, "/nowhere/c.conf", NULL,
                                      out),
                     COCO_ERROR);
    fclose(out);
    assert_non_null(strstr(said, "/nowhere/c.conf: cannot be read: "));
}


/* Every default is one that its own row accepts and shows, names are short
 * enough for their buffers. */
static void
test_table(void **state)
{
    char           env[COCO_OPTION_NAME_SIZE + 16], error[256];
    size_t         i, j;
    coco_config_t  c;

    memset(&c, 0, sizeof(c));

    for (i = 0; i < coco_options_count; i++) {
        assert_true(strlen(coco_options[i].name) < COCO_OPTION_NAME_SIZE);
        assert_non_null(strchr(coco_options[i].name, '.'));
        assert_int_equal(coco_option_read(&coco_options[i], &c,
                             coco_options[i].preset, error, sizeof(error)),
                         COCO_OK);
        coco_option_env(env, &coco_options[i]);
        assert_memory_equal(env, "COCO_WORKER_", 12);

        for (j = 0; j < i; j++) {
            assert_string_not_equal(coco_options[i].name,
                                    coco_options[j].name);
            assert_int_not_equal(coco_options[i].offset,
                                 coco_options[j].offset);
        }
    }

    coco_config_free(&c);
}


static void
serial_is(const char *filter, const char *topic, const char *wanted)
{
    coco_str_t  serial;

    serial = coco_topic_serial(filter, (coco_str_t) { topic, strlen(topic) });
    assert_non_null(serial.data);
    assert_int_equal(serial.len, strlen(wanted));
    assert_memory_equal(serial.data, wanted, serial.len);
}


static void
test_topic(void **state)
{
    serial_is("robot/+/status", "robot/R-1/status", "R-1");
    serial_is("robot/+/status", "robot//status", "");
    serial_is("robot/+/status", "robot/status", "");
    serial_is("robot/+/status", "robot/a/b/status", "");
    serial_is("robot/+/status", "robot/a/events", "");
    serial_is("robot/+/status", "", "");
    serial_is("robot/+/status", "xrobot/a/status", "");
    serial_is("robot/+/status", "robot/a/statusx", "");
    serial_is("+/status", "R/status", "R");
    serial_is("robots/+", "robots/R", "R");
    serial_is("robots/+", "robots/R/x", "");
    serial_is("+", "R", "R");
    serial_is("$aws/things/+/shadow/x", "$aws/things/R/shadow/x", "R");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
#define config_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        config_test(test_defaults),
        config_test(test_file),
        config_test(test_environment),
        config_test(test_secrets),
        config_test(test_mistakes),
        config_test(test_combinations),
        config_test(test_services),
        config_test(test_bus_and_queues),
        config_test(test_no_file),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_topic),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
