/*
 * coco-sim: simulated robots, or recorded messages, over real MQTT.
 */

#include <stdlib.h>
#include <sys/resource.h>

#include <curl/curl.h>

#include "fleet.h"
#include "script.h"


int
main(int argc, char **argv)
{
    int            status;
    sim_loop_t     loop;
    sim_options_t  options;
    struct rlimit  files;

    status = sim_options_parse(&options, argc, argv);
    if (status != 0) {
        return status - 1;
    }

    /* Each robot takes sockets of its own. */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }

    if (sim_loop_open(&loop) != 0) {
        return EXIT_FAILURE;
    }

    mosquitto_lib_init();
    curl_global_init(CURL_GLOBAL_DEFAULT);

    status = options.script ? sim_script_run(&loop, &options)
                            : sim_fleet_run(&loop, &options);

    curl_global_cleanup();
    mosquitto_lib_cleanup();
    sim_loop_close(&loop);

    return status;
}
