/*
 * Runs the sender of pushes, for the suite beside it, until "stop" or the end
 * of stdin; one command a line, answers on stdout. The configuration is the
 * worker's, from the environment. Must never decide whether a test has passed.
 *
 *     status     -> status ALIVE SENDING IN_FLIGHT
 *     metrics    -> what Prometheus would read, then "."
 *     stop       -> stopped MS
 *
 * A name that ends in ".hangs" is looked up for 30 s and not found.
 */

#include <dlfcn.h>
#include <netdb.h>
#include <unistd.h>

#include "../driver.h"
#include "sinks/partners.h"


/* libcurl's threads find it before that of the C library. */
int
getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **ret)
{
    size_t  len = name != NULL ? strlen(name) : 0;
    int   (*real)(const char *, const char *, const struct addrinfo *,
                  struct addrinfo **);

    if (len > 6 && strcmp(name + len - 6, ".hangs") == 0) {
        sleep(30);
        return EAI_AGAIN;
    }

    *(void **) &real = dlsym(RTLD_NEXT, "getaddrinfo");

    return real(name, service, hints, ret);
}


int
main(void)
{
    char                     line[256], error[640];
    int64_t                  begin;
    coco_config_t            config;
    coco_partners_t         *partners;
    coco_partners_status_t   status;

    if (driver_begin(&config) != COCO_OK) {
        return 1;
    }

    if (coco_partners_start(&partners, &config, error, sizeof(error))
        != COCO_OK)
    {
        fprintf(stderr, "%s\n", error);
        return 1;
    }

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strcmp(line, "status\n") == 0) {
            coco_partners_status(partners, &status);
            printf("status %d %d %u\n", status.alive, status.sending,
                   status.in_flight);

        } else if (strcmp(line, "metrics\n") == 0) {
            driver_metrics();

        } else if (strcmp(line, "stop\n") == 0) {
            break;
        }
    }

    begin = coco_clock_monotonic_us();
    coco_partners_stop(partners);
    coco_config_free(&config);
    driver_stopped(begin);

    return 0;
}
