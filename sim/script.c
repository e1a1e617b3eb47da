/*
 * Replays recorded messages over one connection, in order and in their own
 * time. Must never skip a line: a bad one ends the replay and is named.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

#define SIM_SCRIPT_WINDOW   1000
#define SIM_SCRIPT_PATIENCE 30000   /* ms without any acknowledgement */
#define SIM_TICK            500     /* ms */

static int sim_script_replay(sim_loop_t *loop, sim_client_t *client,
    FILE *file);
static int sim_script_send(sim_loop_t *loop, sim_client_t *client,
    const sim_line_t *line, int64_t due);
static int sim_script_pump(sim_loop_t *loop, sim_client_t *client,
    uint64_t outstanding_max, int64_t due);


int
sim_script_run(sim_loop_t *loop, const sim_options_t *options)
{
    int            status;
    FILE          *file;
    sim_client_t   client;

    file = strcmp(options->script, "-") == 0 ? stdin
                                             : fopen(options->script, "r");
    if (file == NULL) {
        fprintf(stderr, "coco-sim: %s: %s\n", options->script,
                strerror(errno));
        return EXIT_FAILURE;
    }

    status = EXIT_FAILURE;

    if (sim_client_create(&client, options, NULL, loop->epoll, &loop->counts)
        == 0)
    {
        status = sim_script_replay(loop, &client, file);

        if (sim_loop_report(loop) != EXIT_SUCCESS) {
            status = EXIT_FAILURE;
        }

        sim_client_destroy(&client);
    }

    if (file != stdin) {
        fclose(file);
    }

    return status;
}


static int
sim_script_replay(sim_loop_t *loop, sim_client_t *client, FILE *file)
{
    int          rc;
    char        *text;
    size_t       size;
    double       due;
    ssize_t      len;
    unsigned     number;
    sim_line_t   line;
    const char  *error;

    rc = 0;
    text = NULL;
    size = 0;
    due = (double) sim_now();

    for (number = 1; rc == 0 && (len = getline(&text, &size, file)) != -1;
         number++)
    {
        if (strspn(text, " \t\r\n") == (size_t) len) {
            continue;
        }

        error = sim_line_decode(&line, text, (size_t) len);

        if (error != NULL) {
            fprintf(stderr, "coco-sim: line %u: %s\n", number, error);
            rc = -1;
            break;
        }

        due += line.after_ms;
        rc = sim_script_send(loop, client, &line, (int64_t) due);
        sim_line_destroy(&line);
    }

    free(text);

    /* What went out before a bad line is still seen through. */

    if (sim_script_pump(loop, client, 0, 0) != 0) {
        rc = -1;
    }

    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}


static int
sim_script_send(sim_loop_t *loop, sim_client_t *client, const sim_line_t *line,
    int64_t due)
{
    if (sim_script_pump(loop, client, SIM_SCRIPT_WINDOW - 1, due) != 0) {
        return -1;
    }

    return sim_client_publish(client, line->topic, line->payload, line->len);
}


/* Serves the connection until it is time and no more than outstanding_max are
 * unacknowledged; when some may be, until it is open as well. -1: a signal
 * came, or the broker has been silent for too long. */

static int
sim_script_pump(sim_loop_t *loop, sim_client_t *client,
    uint64_t outstanding_max, int64_t due)
{
    int64_t   now, progress, timeout;
    uint64_t  acknowledged;

    acknowledged = loop->counts.acknowledged;
    progress = sim_now();

    for ( ;; ) {
        now = sim_now();
        sim_client_open(client, now);

        if (now >= due && client->outstanding <= outstanding_max
            && (client->state == SIM_OPEN || outstanding_max == 0))
        {
            return 0;
        }

        if (loop->stop) {
            return -1;
        }

        if (now < due || loop->counts.acknowledged != acknowledged) {
            acknowledged = loop->counts.acknowledged;
            progress = now;

        } else if (now - progress > SIM_SCRIPT_PATIENCE) {
            fprintf(stderr, "coco-sim: no acknowledgement for %d s\n",
                    SIM_SCRIPT_PATIENCE / 1000);
            return -1;
        }

        timeout = due > now && due - now < SIM_TICK ? due - now : SIM_TICK;

        if (client->state == SIM_IDLE && client->retry_at - now < timeout) {
            timeout = client->retry_at - now;
        }

        sim_loop_wait(loop, timeout);
        sim_client_tick(client);
    }
}
