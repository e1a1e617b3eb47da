/*
 * The stack's Kafka: librdkafka's mock cluster of one broker on a free port
 * of 127.0.0.1, with the topics it is told. Holds a few MiB of each partition
 * in memory and nothing on disk: for development and tests only.
 *
 * coco-kafka FILE TOPIC...: FILE gets the broker's address once the topics
 * are there. SIGUSR1 takes the broker away, SIGUSR2 brings it back with what
 * it held; SIGTERM and SIGINT end.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define COCO_KAFKA_PARTITIONS  4
#define COCO_KAFKA_BROKER      1        /* ids begin with 1 */

static rd_kafka_t *coco_kafka_create(char *error, size_t error_size);
static int coco_kafka_topics(rd_kafka_mock_cluster_t *cluster, char **names);
static int coco_kafka_tell(rd_kafka_mock_cluster_t *cluster,
    const char *path);
static void coco_kafka_run(rd_kafka_mock_cluster_t *cluster, sigset_t *set);


int
main(int argc, char **argv)
{
    int                       rc;
    char                      error[512];
    sigset_t                  set;
    rd_kafka_t               *rk;
    rd_kafka_mock_cluster_t  *cluster;

    if (argc < 3) {
        fprintf(stderr, "usage: coco-kafka FILE TOPIC...\n");
        return 2;
    }

    /* before librdkafka's threads are there, so that they inherit it */
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);

    rk = coco_kafka_create(error, sizeof(error));
    if (rk == NULL) {
        fprintf(stderr, "coco-kafka: %s\n", error);
        return 1;
    }

    rc = 1;
    cluster = rd_kafka_mock_cluster_new(rk, 1);

    if (cluster == NULL) {
        fprintf(stderr, "coco-kafka: no mock cluster could be made\n");

    } else {
        if (coco_kafka_topics(cluster, argv + 2) == 0
            && coco_kafka_tell(cluster, argv[1]) == 0)
        {
            coco_kafka_run(cluster, &set);
            rc = 0;
        }

        rd_kafka_mock_cluster_destroy(cluster);
    }

    rd_kafka_destroy(rk);

    return rc;
}


/* The cluster lives in an instance that never sends anything itself. */
static rd_kafka_t *
coco_kafka_create(char *error, size_t error_size)
{
    rd_kafka_t       *rk;
    rd_kafka_conf_t  *conf;

    conf = rd_kafka_conf_new();

    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, error_size);
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
    }

    return rk;
}


static int
coco_kafka_topics(rd_kafka_mock_cluster_t *cluster, char **names)
{
    rd_kafka_resp_err_t  rc;

    for (/* void */ ; *names; names++) {
        rc = rd_kafka_mock_topic_create(cluster, *names,
                                        COCO_KAFKA_PARTITIONS, 1);
        if (rc != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "coco-kafka: topic \"%s\": %s\n", *names,
                    rd_kafka_err2str(rc));
            return -1;
        }
    }

    return 0;
}


/* By renaming: a reader sees the whole address or no file. */
static int
coco_kafka_tell(rd_kafka_mock_cluster_t *cluster, const char *path)
{
    int    rc;
    char  *made;
    FILE  *file;

    if (asprintf(&made, "%s.new", path) < 0) {
        fprintf(stderr, "coco-kafka: out of memory\n");
        return -1;
    }

    rc = -1;
    file = fopen(made, "w");

    if (file) {
        fprintf(file, "%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
        rc = fclose(file);
    }

    if (rc == 0) {
        rc = rename(made, path);
    }

    if (rc != 0) {
        perror(path);
    }

    free(made);

    return rc;
}


static void
coco_kafka_run(rd_kafka_mock_cluster_t *cluster, sigset_t *set)
{
    int  signo;

    while (sigwait(set, &signo) == 0) {
        switch (signo) {

        case SIGUSR1:
            rd_kafka_mock_broker_set_down(cluster, COCO_KAFKA_BROKER);
            break;

        case SIGUSR2:
            rd_kafka_mock_broker_set_up(cluster, COCO_KAFKA_BROKER);
            break;

        default:
            return;
        }
    }
}
