/*
 * coco-worker: arguments, signals and what systemd is told. Must never do
 * anything in a signal handler but end a stop that takes too long.
 */

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "log.h"
#include "worker.h"

#define COCO_MAIN_USAGE  2      /* exit status */


typedef struct {
    const char  *config;
    const char  *services;         /* NULL: as configured */
    bool         check;
} coco_main_args_t;


static int coco_main_args_read(coco_main_args_t *ret, int argc, char **argv);
static void coco_main_help(FILE *out);
static int coco_main_run(const coco_main_args_t *args, coco_config_t *config);
static void coco_main_signals_init(sigset_t *ret);
static void coco_main_loop(const coco_main_args_t *args,
    coco_worker_t *worker, const sigset_t *signals);
static void coco_main_reload(const coco_main_args_t *args);
static void coco_main_stop_limit(uint64_t ms);
static void coco_main_stop_late(int signo);


int
main(int argc, char **argv)
{
    int               rc;
    coco_config_t     config;
    coco_main_args_t  args;

    rc = coco_main_args_read(&args, argc, argv);
    if (rc != -1) {
        return rc;
    }

    if (coco_config_load(&config, args.config, args.services, stderr)
        != COCO_OK)
    {
        return EXIT_FAILURE;
    }

    if (args.check) {
        printf("%s: the configuration is valid\n",
               args.config ? args.config : "defaults and environment");
        rc = EXIT_SUCCESS;

    } else {
        rc = coco_main_run(&args, &config);
    }

    coco_config_free(&config);

    return rc;
}


/* The exit status, or -1 to go on. */
static int
coco_main_args_read(coco_main_args_t *ret, int argc, char **argv)
{
    int  option;

    static const struct option  options[] = {
        { "config", required_argument, NULL, 'c' },
        { "services", required_argument, NULL, 's' },
        { "check-config", no_argument, NULL, 't' },
        { "print-options", no_argument, NULL, 'p' },
        { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    memset(ret, 0, sizeof(*ret));

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {

        switch (option) {
        case 'c':
            ret->config = optarg;
            break;
        case 's':
            ret->services = optarg;
            break;
        case 't':
            ret->check = true;
            break;
        case 'p':
            coco_config_print(stdout);
            return EXIT_SUCCESS;
        case 'V':
            printf("coco-worker %s\n", COCO_WORKER_VERSION);
            return EXIT_SUCCESS;
        case 'h':
            coco_main_help(stdout);
            return EXIT_SUCCESS;
        default:
            coco_main_help(stderr);
            return COCO_MAIN_USAGE;
        }
    }

    if (optind != argc) {
        fprintf(stderr, "coco-worker: what is \"%s\"?\n", argv[optind]);
        coco_main_help(stderr);
        return COCO_MAIN_USAGE;
    }

    return -1;
}


static void
coco_main_help(FILE *out)
{
    fprintf(out,
        "usage: coco-worker [-c FILE] [--services LIST]\n"
        "                   [--check-config | --print-options]\n"
        "\n"
        "  -c, --config FILE   the configuration; without it the defaults\n"
        "                      and the environment (COCO_WORKER_...) hold\n"
        "  --services LIST     all, or some with commas between; goes\n"
        "                      before process.services\n"
        "  --check-config      says what is wrong with it and ends\n"
        "  --print-options     lists option, type, default and variable\n"
        "  --version\n"
        "  -h, --help\n"
        "\n"
        "SIGTERM and SIGINT end it after the batches under way. SIGHUP\n"
        "makes it read the log level again.\n");
}


static int
coco_main_run(const coco_main_args_t *args, coco_config_t *config)
{
    char            error[640];
    sigset_t        signals;
    coco_worker_t  *worker;

    coco_log_init((coco_log_level_e) config->log_level,
                  (coco_log_format_e) config->log_format);

    /* before any thread exists, so that all inherit the mask */
    coco_main_signals_init(&signals);

    coco_log(COCO_LOG_INFO, "starting", "version", "%s", COCO_WORKER_VERSION,
             "config", "%s", args->config ? args->config : "", "services",
             "%s", config->services, NULL);

    if (coco_worker_start(&worker, config, error, sizeof(error)) != COCO_OK) {
        coco_log(COCO_LOG_ERROR, "start_failed", "error", "%s", error, NULL);
        return EXIT_FAILURE;
    }

    sd_notifyf(0, "READY=1\nMAINPID=%ld", (long) getpid());
    coco_log(COCO_LOG_INFO, "started", "http", "%s", config->http_address,
             "port", "%d", (int) config->http_port, NULL);

    coco_main_loop(args, worker, &signals);

    sd_notify(0, "STOPPING=1");
    coco_log(COCO_LOG_INFO, "stopping", NULL);

    coco_main_stop_limit(config->stop_timeout);
    coco_worker_stop(worker);

    coco_log(COCO_LOG_INFO, "stopped", NULL);

    return EXIT_SUCCESS;
}


static void
coco_main_signals_init(sigset_t *ret)
{
    struct sigaction  ignore;

    memset(&ignore, 0, sizeof(ignore));
    ignore.sa_handler = SIG_IGN;

    /* a closed connection and a file size limit are errors of their calls */
    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGXFSZ, &ignore, NULL);

    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    pthread_sigmask(SIG_BLOCK, ret, NULL);
}


/* Until SIGTERM or SIGINT. systemd's watchdog is fed only while the worker's
 * threads go round. */
static void
coco_main_loop(const coco_main_args_t *args, coco_worker_t *worker,
    const sigset_t *signals)
{
    int              signo;
    bool             watchdog;
    uint64_t         usec;
    struct timespec  half;

    watchdog = sd_watchdog_enabled(0, &usec) > 0;

    for ( ;; ) {

        if (watchdog) {
            half.tv_sec = (time_t) (usec / 2 / 1000000);
            half.tv_nsec = (long) (usec / 2 % 1000000) * 1000;
            signo = sigtimedwait(signals, NULL, &half);

        } else {
            signo = sigwaitinfo(signals, NULL);
        }

        if (signo == SIGTERM || signo == SIGINT) {
            return;
        }

        if (signo == SIGHUP) {
            coco_main_reload(args);
        }

        if (watchdog && coco_worker_alive(worker)) {
            sd_notify(0, "WATCHDOG=1");
        }
    }
}


/* The log level alone: everything else is read at the start. */
static void
coco_main_reload(const coco_main_args_t *args)
{
    coco_config_t    config;
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
               (long long) now.tv_sec * 1000000 + now.tv_nsec / 1000);

    if (coco_config_load(&config, args->config, args->services, stderr)
        == COCO_OK)
    {
        coco_log_level_set((coco_log_level_e) config.log_level);
        coco_config_free(&config);
        coco_log(COCO_LOG_INFO, "reloaded", NULL);

    } else {
        coco_log(COCO_LOG_ERROR, "reload_failed", "remedy", "%s",
                 "see the lines above; the old log level holds", NULL);
    }

    sd_notify(0, "READY=1");
}


/* What is not committed by then comes again after the next start. */
static void
coco_main_stop_limit(uint64_t ms)
{
    struct sigaction  late;
    struct itimerval  timer;

    memset(&late, 0, sizeof(late));
    memset(&timer, 0, sizeof(timer));

    late.sa_handler = coco_main_stop_late;
    timer.it_value.tv_sec = (time_t) (ms / 1000);
    timer.it_value.tv_usec = (suseconds_t) (ms % 1000) * 1000;

    sigaction(SIGALRM, &late, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}


static void
coco_main_stop_late(int signo)
{
    static const char  text[] = "coco-worker: process.stop_timeout is over; "
                                "ending without the rest\n";

    if (write(STDERR_FILENO, text, sizeof(text) - 1) == -1) {
        /* nobody can be told */
    }

    _exit(EXIT_FAILURE);
}
