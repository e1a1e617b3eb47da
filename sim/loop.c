/*
 * One epoll for all connections. Must never wait anywhere but in epoll_wait.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "loop.h"

#define SIM_EVENTS  256


int
sim_loop_open(sim_loop_t *loop)
{
    sigset_t            set;
    struct epoll_event  event;

    *loop = (sim_loop_t) { .epoll = -1, .signals = -1 };

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);

    /* A NULL pointer in an event stands for the signals. */
    event.events = EPOLLIN;
    event.data.ptr = NULL;

    loop->epoll = epoll_create1(EPOLL_CLOEXEC);

    if (loop->epoll == -1 || sigprocmask(SIG_BLOCK, &set, NULL) == -1
        || (loop->signals = signalfd(-1, &set, SFD_CLOEXEC)) == -1
        || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->signals, &event) == -1)
    {
        perror("coco-sim: event loop");
        sim_loop_close(loop);
        return -1;
    }

    return 0;
}


void
sim_loop_close(sim_loop_t *loop)
{
    if (loop->signals != -1) {
        close(loop->signals);
    }

    if (loop->epoll != -1) {
        close(loop->epoll);
    }
}


void
sim_loop_wait(sim_loop_t *loop, int64_t timeout)
{
    int                      i, n;
    sim_source_t            *source;
    struct epoll_event       events[SIM_EVENTS];
    struct signalfd_siginfo  info;

    n = epoll_wait(loop->epoll, events, SIM_EVENTS,
                   timeout > 0 ? (int) timeout : 0);

    for (i = 0; i < n; i++) {
        if (events[i].data.ptr != NULL) {
            source = events[i].data.ptr;
            source->handler(source, events[i].events);

        } else if (read(loop->signals, &info, sizeof(info)) > 0) {
            loop->stop = true;
        }
    }
}


int
sim_loop_report(const sim_loop_t *loop)
{
    const sim_counts_t  *counts = &loop->counts;

    printf("published=%llu acknowledged=%llu reconnects=%llu dropped=%llu\n",
           (unsigned long long) counts->published,
           (unsigned long long) counts->acknowledged,
           (unsigned long long) counts->reconnects,
           (unsigned long long) counts->dropped);
    fflush(stdout);

    return counts->acknowledged == counts->published && counts->dropped == 0
           ? EXIT_SUCCESS : EXIT_FAILURE;
}
