/*
 * The command line of coco-sim: one table of options, each with its bounds
 * and its line of help. Must never open or start anything.
 */

#include <ctype.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mosquitto.h>

#include "options.h"
#include "robot.h"

/* The digits that follow the prefix, for the largest fleet. */
#define SIM_SERIAL_DIGITS  6

typedef struct {
    const char  *name;
    char         key;
    double       min, max;          /* of a number; both 0: a text */
    const char  *argument, *help;
} sim_option_t;

static const sim_option_t  sim_option_table[] = {
    { "host", 'H', 0, 0, "HOST", "the broker (127.0.0.1)" },
    { "port", 'p', 1, 65535, "PORT", "its port (8081)" },
    { "mqtt-version", 'v', 0, 0, "3.1.1|5", "protocol (3.1.1)" },
    { "robots", 'r', 1, 100000, "N",
      "how many, each with a connection of its own (20)" },
    { "hz", 'z', 0.001, 1000, "H", "heartbeats a second of each (1)" },
    { "seed", 's', 0, 9007199254740992.0, "S",
      "the same seed is the same fleet (1)" },
    { "seconds", 't', 0, 1e9, "T", "how long; 0: until a signal (0)" },
    { "serial-prefix", 'x', 0, 0, "TEXT", "serials are TEXT0001 ... (sim-)" },
    { "start-ms", 'm', 0, 253402300799999.0, "MS",
      "ts of the first heartbeat (now; of a burst: so that it ends now)" },
    { "burst", 'b', 1, 1e9, "COUNT",
      "COUNT heartbeats in all, as fast as they are acknowledged" },
    { "window", 'w', 1, 65535, "N",
      "unacknowledged heartbeats in a burst (2000)" },
    { "stand", 'S', 0, 0, NULL, "robots wait where they begin" },
    { "merchants", 'M', 0, 0, "LIST",
      "of pin qr touch fast forget jam late twice, each with :CHANCE if not"
      " 1; or none (pin)" },
    { "pin-ask", 'a', 0, 0, NULL, "keypads ask the backend to open" },
    { "latch-ms", 'l', 0, 60000, "MS", "how long a lid takes to open (400)" },
    { "http", 'u', 0, 0, "URL", "the backend, for those who scan (qr)" },
    { "token-file", 'k', 0, 0, "FILE", "their token" },
    { "delivery", 'd', 0, 0, "ID",
      "what they load (what is assigned to the robot)" },
    { "script", 'f', 0, 0, "FILE",
      "replay lines {\"topic\",\"payload\",\"afterMs\"} instead; - is stdin" },
    { "help", 'h', 0, 0, NULL, "this" },
};

#define SIM_OPTIONS  (sizeof(sim_option_table) / sizeof(sim_option_table[0]))

static int sim_option_apply(sim_options_t *o, const sim_option_t *option,
    const char *value);
static int sim_option_number(double *ret, const sim_option_t *option,
    const char *value);
static int sim_option_prefix(sim_options_t *o, const char *value);
static int sim_option_merchants(sim_options_t *o, const char *value);
static int sim_option_delivery(sim_options_t *o, const char *value);
static int sim_options_check(const sim_options_t *o);
static void sim_options_help(void);


int
sim_options_parse(sim_options_t *ret, int argc, char **argv)
{
    int            index;
    size_t         i;
    struct option  names[SIM_OPTIONS + 1];

    *ret = (sim_options_t) {
        .host = "127.0.0.1", .port = 8081,
        .mqtt_version = MQTT_PROTOCOL_V311, .serial_prefix = "sim-",
        .robots = 20, .hz = 1, .seed = 1, .window = 2000,
        .lid = { .chance[SIM_HABIT_PIN] = 1, .latch_ms = 400 }
    };

    memset(names, 0, sizeof(names));

    for (i = 0; i < SIM_OPTIONS; i++) {
        names[i].name = sim_option_table[i].name;
        names[i].has_arg = sim_option_table[i].argument != NULL;
    }

    for ( ;; ) {
        index = 0;

        switch (getopt_long(argc, argv, "", names, &index)) {

        case -1:
            if (optind < argc) {
                fprintf(stderr, "coco-sim: unexpected \"%s\", see --help\n",
                        argv[optind]);
                return EXIT_FAILURE + 1;
            }

            return sim_options_check(ret) == 0 ? 0 : EXIT_FAILURE + 1;

        case 0:
            if (sim_option_table[index].key == 'h') {
                sim_options_help();
                return EXIT_SUCCESS + 1;
            }

            if (sim_option_apply(ret, &sim_option_table[index], optarg) == 0) {
                break;
            }

            /* fall through */

        default:
            return EXIT_FAILURE + 1;
        }
    }
}


static int
sim_option_apply(sim_options_t *o, const sim_option_t *option,
    const char *value)
{
    double  number;

    number = 0;

    if (option->max > 0 && sim_option_number(&number, option, value) != 0) {
        return -1;
    }

    switch (option->key) {

    case 'H':
        o->host = value;
        break;

    case 'p':
        o->port = (int) number;
        break;

    case 'v':
        if (strcmp(value, "3.1.1") != 0 && strcmp(value, "5") != 0) {
            fprintf(stderr, "coco-sim: --mqtt-version is 3.1.1 or 5\n");
            return -1;
        }

        o->mqtt_version = value[0] == '5' ? MQTT_PROTOCOL_V5
                                          : MQTT_PROTOCOL_V311;
        break;

    case 'r':
        o->robots = (int) number;
        break;

    case 'z':
        o->hz = number;
        break;

    case 's':
        o->seed = (uint64_t) number;
        break;

    case 't':
        o->seconds = number;
        break;

    case 'x':
        return sim_option_prefix(o, value);

    case 'm':
        o->start_ms = (int64_t) number;
        break;

    case 'b':
        o->burst = (uint64_t) number;
        break;

    case 'w':
        o->window = (int) number;
        break;

    case 'f':
        o->script = value;
        break;

    case 'S':
        o->stand = true;
        break;

    case 'M':
        return sim_option_merchants(o, value);

    case 'a':
        o->lid.pin_ask = true;
        break;

    case 'l':
        o->lid.latch_ms = (int64_t) number;
        break;

    case 'u':
        o->http = value;
        break;

    case 'k':
        o->token_file = value;
        break;

    case 'd':
        return sim_option_delivery(o, value);
    }

    return 0;
}


static int
sim_option_number(double *ret, const sim_option_t *option, const char *value)
{
    bool    whole;
    char   *end;
    double  number;

    whole = option->key != 'z' && option->key != 't';
    number = strtod(value, &end);

    if (end == value || *end != '\0' || !(number >= option->min)
        || number > option->max || (whole && number != floor(number)))
    {
        fprintf(stderr, "coco-sim: --%s must be a%s number from %.15g to"
                " %.15g, not \"%s\"\n", option->name, whole ? " whole" : "",
                option->min, option->max, value);
        return -1;
    }

    *ret = number;

    return 0;
}


static int
sim_option_prefix(sim_options_t *o, const char *value)
{
    size_t  i, len;

    len = strlen(value);

    for (i = 0; i < len; i++) {
        if (!isalnum((unsigned char) value[i]) && !strchr("._-", value[i])) {
            break;
        }
    }

    if (i < len || len > SIM_SERIAL_MAX - SIM_SERIAL_DIGITS) {
        fprintf(stderr, "coco-sim: --serial-prefix must be at most %d of"
                " [A-Za-z0-9._-]\n", SIM_SERIAL_MAX - SIM_SERIAL_DIGITS);
        return -1;
    }

    o->serial_prefix = value;

    return 0;
}


static int
sim_option_merchants(sim_options_t *o, const char *value)
{
    const char  *error;

    error = sim_habits_parse(&o->lid, value);

    if (error != NULL) {
        fprintf(stderr, "coco-sim: --merchants \"%s\": %s\n", value, error);
        return -1;
    }

    return 0;
}


static int
sim_option_delivery(sim_options_t *o, const char *value)
{
    size_t  len;

    len = strlen(value);

    if (len == 0 || len > 64
        || strspn(value, "0123456789abcdefABCDEF-") != len)
    {
        fprintf(stderr, "coco-sim: --delivery is the id of one, not \"%s\"\n",
                value);
        return -1;
    }

    o->delivery = value;

    return 0;
}


static int
sim_options_check(const sim_options_t *o)
{
    if (o->lid.chance[SIM_HABIT_QR] > 0
        && (o->http == NULL || o->token_file == NULL))
    {
        fprintf(stderr, "coco-sim: --merchants qr also needs --http and"
                " --token-file: whom to ask, and as whom\n");
        return -1;
    }

    return 0;
}


static void
sim_options_help(void)
{
    size_t               i;
    char                 left[64];
    const sim_option_t  *option;

    puts("coco-sim: simulated delivery robots, each a real MQTT client\n");

    for (i = 0; i < SIM_OPTIONS; i++) {
        option = &sim_option_table[i];
        snprintf(left, sizeof(left), "--%s %s", option->name,
                 option->argument ? option->argument : "");
        printf("  %-24s %s\n", left, option->help);
    }
}
