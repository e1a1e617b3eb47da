/*
 * The fleet index: what its header promises of numbers, room, sequence and
 * hard places; readers beside a writer, as threads and as processes that have
 * the block at other addresses; and what a writer leaves that is killed.
 */

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core_test.h"
#include "core_fleet.h"


#define KILLS         200
#define KILL_ROBOTS   60
#define KILL_STATES   256
#define READ_ROBOTS   12
#define READS         3000       /* of each reader, that nobody disturbed */
#define TORN          100        /* and that the writer did */
#define READERS       2
#define DEADLINE      60         /* seconds: for machines under load */

#if defined(__SANITIZE_THREAD__)
#define NOT_WATCHED  __attribute__((no_sanitize("thread"), noinline))
#else
#define NOT_WATCHED
#endif

typedef struct {
    coco_fleet_index_t  *index;
    size_t               count;
    double               nearest;
    uint32_t             robot;
} visit_t;

/* Readers of an index, and their writer. */
typedef struct {
    const coco_fleet_index_t  *index;
    size_t                     valid, torn;
    const char                *wrong;
    int                       *stop;
} reader_t;


static double
visit_all(void *data, uint32_t robot, double meters)
{
    ((visit_t *) data)->count++;

    return INFINITY;
}


static double
visit_nearest(void *data, uint32_t robot, double meters)
{
    visit_t  *v = data;

    v->count++;

    if (meters < v->nearest) {
        v->nearest = meters;
        v->robot = robot;
    }

    return v->nearest;
}


static visit_t
nearest(const coco_fleet_index_t *index, double latitude, double longitude)
{
    visit_t  v = { .nearest = INFINITY, .robot = COCO_ROBOT_NONE };

    coco_fleet_index_near(index, latitude, longitude, INFINITY, visit_nearest,
                          &v);

    return v;
}


static coco_supply_state_t
usable_at(int32_t latitude_e7, int32_t longitude_e7, int64_t version)
{
    return (coco_supply_state_t) {
        .parts = COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS
                 | COCO_SUPPLY_DEMAND | COCO_SUPPLY_LID,
        .telemetry = {
            .order = { .order_ms = FLEET_NOW, .ts = version },
            .latitude_e7 = latitude_e7, .longitude_e7 = longitude_e7,
            .battery_percent = 80, .healthy = true
        },
        .business = {
            .changed_at = version, .operation_state = COCO_STATE_PARKED,
            .driveable = COCO_TRUE
        },
        .demand = { .version = version },
        .lid = { .at = version }
    };
}


static void
robot_put(coco_fleet_index_t *index, uint32_t number, int32_t latitude_e7,
    int32_t longitude_e7)
{
    char                 buf[COCO_SERIAL_MAX];
    coco_supply_state_t  robot = usable_at(latitude_e7, longitude_e7, 1);

    assert_int_equal(coco_fleet_index_put(index, fleet_serial(number, buf),
                                          &robot, FLEET_NOW), 15);
}


static void
room_is_what_was_asked_for(void **state)
{
    char                 buf[COCO_SERIAL_MAX + 1];
    coco_str_t           serial = coco_string("R-1");
    coco_fleet_index_t  *index = fleet_create(0);
    coco_supply_state_t  robot = usable_at(0, 0, 1);

    memset(buf, 'x', sizeof(buf));
    assert_int_equal(coco_fleet_index_size(UINT32_MAX), 0);
    assert_true(coco_fleet_index_size(1) - coco_fleet_index_size(0) == 276);

    assert_int_equal(coco_fleet_index_put(index, serial, &robot, FLEET_NOW),
                     COCO_ERROR);
    assert_int_equal(coco_fleet_index_find(index, serial), COCO_ROBOT_NONE);
    assert_true(coco_fleet_index_sweep(index, FLEET_NOW, 9) == INT64_MAX);
    assert_int_equal(nearest(index, 0, 0).count, 0);
    free(index);

    index = fleet_create(2);
    assert_int_equal(coco_fleet_index_capacity(index), 2);
    robot_put(index, 1, 0, 0);

    /* as long as it may be, longer, and none */
    assert_int_equal(coco_fleet_index_put(index,
                         (coco_str_t) { buf, COCO_SERIAL_MAX + 1 }, &robot,
                         FLEET_NOW), COCO_ERROR);
    assert_int_equal(coco_fleet_index_put(index, (coco_str_t) { buf, 0 },
                                          &robot, FLEET_NOW), COCO_ERROR);
    assert_int_equal(coco_fleet_index_put(index,
                         (coco_str_t) { buf, COCO_SERIAL_MAX }, &robot,
                         FLEET_NOW), 15);
    assert_int_equal(coco_fleet_index_find(index,
                         (coco_str_t) { buf, COCO_SERIAL_MAX }), 1);
    assert_int_equal(coco_fleet_index_find(index,
                         (coco_str_t) { buf, COCO_SERIAL_MAX + 1 }),
                     COCO_ROBOT_NONE);

    /* full: those that are known still change */
    assert_int_equal(coco_fleet_index_put(index, serial, &robot, FLEET_NOW),
                     COCO_ERROR);
    robot.lid.at++;
    assert_int_equal(coco_fleet_index_put(index, fleet_serial(1, buf), &robot,
                                          FLEET_NOW), COCO_SUPPLY_LID);
    assert_int_equal(coco_fleet_index_count(index), 2);
    free(index);
}


static void
sequence_moves_with_what_is_read(void **state)
{
    char                 buf[COCO_SERIAL_MAX];
    uint64_t             begun;
    coco_fleet_index_t  *index = fleet_create(1);
    coco_supply_state_t  robot = usable_at(0, 0, 1);

    begun = coco_fleet_index_begin(index);
    assert_int_equal(begun & 1, 0);
    assert_true(coco_fleet_index_end(index, begun));

    robot_put(index, 1, 0, 0);
    assert_false(coco_fleet_index_end(index, begun));

    /* nothing newer, or nothing due: nobody is disturbed */
    begun = coco_fleet_index_begin(index);
    assert_int_equal(coco_fleet_index_put(index, fleet_serial(1, buf), &robot,
                                          FLEET_NOW), 0);
    assert_true(coco_fleet_index_sweep(index, FLEET_NOW, 9)
                == FLEET_NOW + fleet_rules.online_ms + 1);
    assert_true(coco_fleet_index_end(index, begun));

    coco_fleet_index_sweep(index, FLEET_NOW + fleet_rules.online_ms, 9);
    assert_int_equal(nearest(index, 0, 0).count, 1);
    assert_true(coco_fleet_index_end(index, begun));
    coco_fleet_index_sweep(index, FLEET_NOW + fleet_rules.online_ms + 1, 9);
    assert_int_equal(nearest(index, 0, 0).count, 0);
    assert_false(coco_fleet_index_end(index, begun));

    /* emptied while somebody reads, also after a writer died */
    begun = coco_fleet_index_begin(index);
    index->writing = 1;
    assert_true(coco_fleet_index_broken(index));
    coco_fleet_index_init(index, 1, &fleet_rules);
    assert_false(coco_fleet_index_broken(index));
    assert_false(coco_fleet_index_end(index, begun));
    assert_int_equal(coco_fleet_index_count(index), 0);

    begun = coco_fleet_index_begin(index);
    index->sequence++;
    assert_true(coco_fleet_index_broken(index));
    assert_false(coco_fleet_index_end(index, index->sequence));
    coco_fleet_index_init(index, 1, &fleet_rules);
    assert_false(coco_fleet_index_broken(index));
    assert_false(coco_fleet_index_end(index, begun));
    free(index);
}


static void
poles_and_the_date_line_are_places(void **state)
{
    coco_fleet_index_t  *index = fleet_create(8);

    robot_put(index, 0, 0, 1799990000);
    robot_put(index, 1, 0, -1799980000);
    robot_put(index, 2, 899990000, 0);
    robot_put(index, 3, 899980000, 1800000000);
    robot_put(index, 4, -900000000, 123456789);

    /* over the date line, and by both names of it */
    assert_int_equal(nearest(index, 0, -179.9999).robot, 0);
    assert_int_equal(nearest(index, 0, 179.99951).robot, 0);
    assert_int_equal(nearest(index, 0, -179.9994).robot, 1);
    assert_true(fabs(nearest(index, 0, 180).nearest
                     - nearest(index, 0, -180).nearest) < 1e-6);

    /* over the pole, and at it, whatever the longitude */
    assert_int_equal(nearest(index, 89.9998, 180).robot, 2);
    assert_int_equal(nearest(index, 89.9991, -180).robot, 3);
    assert_int_equal(nearest(index, -90, -77).robot, 4);
    assert_true(nearest(index, -90, -77).nearest < 1e-3);

    /* half around the world */
    assert_true(nearest(index, 0.0, 0.0).nearest > 1e7);
    assert_null(fleet_wrong(index));
    free(index);
}


/* Crowds of just more than a leaf holds, each at one point: dividing them
 * takes more nodes than there are. */
static void
crowds_outnumber_the_nodes(void **state)
{
    int32_t              latitude = 0, longitude = 0;
    uint32_t             i, robots = 900;
    visit_t              v = { .count = 0 };
    coco_fleet_index_t  *index = fleet_create(robots);

    fleet_random_seed(7);

    for (i = 0; i < robots; i++) {
        if (i % 9 == 0) {
            fleet_random_place(FLEET_WORLD, &latitude, &longitude);
        }

        robot_put(index, i, latitude, longitude);
    }

    assert_int_equal(index->nodes_used, robots);
    assert_null(fleet_wrong(index));
    coco_fleet_index_near(index, 0, 0, INFINITY, visit_all, &v);
    assert_int_equal(v.count, robots);
    assert_int_equal(nearest(index, latitude / 1e7, longitude / 1e7).count, 9);

    coco_fleet_index_sweep(index, FLEET_NOW + 100000, robots);
    assert_null(fleet_wrong(index));
    assert_int_equal(nearest(index, 0, 0).count, 0);
    free(index);
}


/* How many are looked at: the one nearest must not cost a walk of the city. */
static void
dense_fleets_are_searched_in_part(void **state)
{
    int                  i;
    double               meters, least;
    size_t               looked = 0;
    int32_t              latitude, longitude;
    visit_t              v;
    uint32_t             robot, robots = 10000;
    fleet_shape_e        shape;
    coco_fleet_index_t  *index = NULL;
    const coco_supply_telemetry_t  *t;

    fleet_random_seed(11);

    for (shape = FLEET_CITY; shape <= FLEET_BLOCK; shape++) {
        free(index);
        index = fleet_create(robots);

        for (robot = 0; robot < robots; robot++) {
            fleet_random_place(shape, &latitude, &longitude);
            robot_put(index, robot, latitude, longitude);
        }

        for (i = 0; i < 50; i++) {
            fleet_random_place(shape, &latitude, &longitude);
            v = nearest(index, latitude / 1e7, longitude / 1e7);
            looked += v.count;

            for (robot = 0, least = INFINITY; robot < robots; robot++) {
                t = &coco_fleet_index_state(index, robot)->telemetry;
                meters = coco_distance_meters(latitude / 1e7, longitude / 1e7,
                                              t->latitude_e7 / 1e7,
                                              t->longitude_e7 / 1e7);
                least = fmin(least, meters);
            }

            assert_true(v.nearest == least);
        }
    }

    print_message("%zu robots visited for the nearest of %u, on average\n",
                  looked / 100, robots);
    assert_true(looked / 100 < 20);

    /* all of them at one point: as near to the last bit, so all are told */
    coco_fleet_index_init(index, robots, &fleet_rules);

    for (robot = 0; robot < robots; robot++) {
        robot_put(index, robot, latitude, longitude);
    }

    assert_int_equal(nearest(index, 34, -118).count, robots);
    assert_null(fleet_wrong(index));
    free(index);
}


/* Whatever a torn read meets: searches end, and stay in the block (which the
 * sanitizers watch). */
static void
nonsense_has_an_end(void **state)
{
    int                  run;
    char                 buf[COCO_SERIAL_MAX];
    size_t               i, words;
    visit_t              v = { .count = 0 };
    uint32_t             robots = 100, *word;
    coco_fleet_index_t  *index = fleet_create(robots);

    words = coco_fleet_index_size(robots) - coco_fleet_index_size(0);
    words /= sizeof(*word);

    for (run = 0; run < 300; run++) {
        fleet_random_seed((uint64_t) run + 1);
        word = (uint32_t *) (index + 1);

        for (i = 0; i < words; i++) {
            word[i] = (uint32_t) fleet_random(run % 3 ? robots + 2
                                                      : UINT64_C(1) << 32);

            if (run % 3 == 1 && fleet_random(2)) {
                word[i] |= FLEET_NODE_BIT;
            }
        }

        v.count = 0;
        coco_fleet_index_near(index, 34, -118, INFINITY, visit_all, &v);
        assert_true(v.count <= 2 * robots);

        i = coco_fleet_index_find(index, fleet_serial((uint32_t) run, buf));
        assert_true(i == COCO_ROBOT_NONE || i < robots);
        assert_true(coco_fleet_index_serial(index, 99).len <= COCO_SERIAL_MAX);
    }

    free(index);
}


/* --- readers beside a writer ---------------------------------------------- */

/* All parts of a robot follow from its version. */
static coco_supply_state_t
versioned(int64_t version)
{
    coco_supply_state_t  state = usable_at(
        (int32_t) (version * 7919 % 900000000),
        (int32_t) (version * 104729 % 1800000000), version);

    state.telemetry.healthy = version % 3 != 0;

    return state;
}


static NOT_WATCHED coco_supply_state_t
state_copy(const coco_supply_state_t *state)
{
    size_t                    i;
    coco_supply_state_t       copy;
    const volatile uint64_t  *from = (const volatile uint64_t *) state;
    uint64_t                 *to = (uint64_t *) &copy;

    for (i = 0; i < sizeof(copy) / sizeof(*to); i++) {
        to[i] = from[i];
    }

    return copy;
}


static bool
versions_agree(const coco_supply_state_t *state)
{
    coco_supply_state_t  other = versioned(state->lid.at);

    return state->telemetry.order.ts == state->lid.at
           && state->business.changed_at == state->lid.at
           && state->demand.version == state->lid.at
           && state->telemetry.latitude_e7 == other.telemetry.latitude_e7
           && state->telemetry.longitude_e7 == other.telemetry.longitude_e7
           && state->telemetry.healthy == other.telemetry.healthy;
}


static void
index_read(reader_t *reader)
{
    char                       buf[COCO_SERIAL_MAX];
    visit_t                    v = { .count = 0 };
    uint32_t                   number, robot, usable, count;
    uint32_t                   counts[COCO_REASONS_STANDING];
    uint64_t                   begun;
    coco_str_t                 serial, found = { NULL, 0 };
    coco_supply_state_t        robot_state = { .parts = 0 };
    const coco_fleet_index_t  *index = reader->index;

    number = (uint32_t) fleet_random(READ_ROBOTS);
    serial = fleet_serial(number, buf);
    begun = coco_fleet_index_begin(index);

    if (begun & 1) {
        reader->torn++;
        return;
    }

    robot = coco_fleet_index_find(index, serial);

    if (robot != COCO_ROBOT_NONE) {
        robot_state = state_copy(coco_fleet_index_state(index, robot));
        found = coco_fleet_index_serial(index, robot);
    }

    coco_fleet_index_near(index, 10, 10, INFINITY, visit_all, &v);
    coco_fleet_index_counts(index, counts, &usable);
    count = coco_fleet_index_count(index);

    if (!coco_fleet_index_end(index, begun)) {
        reader->torn++;
        return;
    }

    reader->valid++;

    if (v.count != usable || count != usable + counts[COCO_REASON_UNHEALTHY]) {
        reader->wrong = "the counts are not those of the tree";

    } else if (robot == COCO_ROBOT_NONE && count == READ_ROBOTS) {
        reader->wrong = "a robot is not found";

    } else if (robot != COCO_ROBOT_NONE
               && (robot >= count || !coco_str_equal(found, serial)
                   || !versions_agree(&robot_state)))
    {
        reader->wrong = "a robot is torn";
    }
}


static void *
reader_run(void *data)
{
    time_t     until = time(NULL) + DEADLINE;
    reader_t  *reader = data;

    while ((reader->valid < READS || reader->torn < TORN)
           && reader->wrong == NULL)
    {
        index_read(reader);

        if ((reader->torn + reader->valid) % 1024 == 0 && time(NULL) > until) {
            reader->wrong = "reader and writer hardly met, or all the time";
        }
    }

    return NULL;
}


/* Bursts, between which a reader gets through. */
static void *
writer_run(void *data)
{
    int                   i;
    char                  buf[COCO_SERIAL_MAX];
    int64_t               version = 1;
    reader_t             *writer = data;
    coco_fleet_index_t   *index = (coco_fleet_index_t *) writer->index;
    coco_supply_state_t   robot;

    fleet_random_seed(3);

    while (!__atomic_load_n(writer->stop, __ATOMIC_RELAXED)) {
        for (i = 0; i < 64; i++) {
            robot = versioned(++version);
            coco_fleet_index_put(index,
                fleet_serial((uint32_t) fleet_random(READ_ROBOTS), buf),
                &robot, FLEET_NOW);
        }

        for (i = 0; i < 20000; i++) {
            __asm__ volatile ("");
        }
    }

    return NULL;
}


/* A block that several mappings share. */
static void *
block_map(int fd, size_t size)
{
    void  *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    assert_true(block != MAP_FAILED);

    return block;
}


static int
block_open(size_t size)
{
    int  fd = memfd_create("fleet", 0);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t) size), 0);

    return fd;
}


/* The last reader has a mapping of its own, each thread a random state. */
static void
threads_read_what_is_whole(void **state)
{
    int                  i, stop = 0, fd;
    size_t               size = coco_fleet_index_size(READ_ROBOTS);
    reader_t             writer, readers[READERS];
    pthread_t            writes, reads[READERS];
    coco_fleet_index_t  *index, *other;

    fd = block_open(size);
    index = block_map(fd, size);
    other = block_map(fd, size);
    assert_ptr_not_equal(index, other);
    coco_fleet_index_init(index, READ_ROBOTS, &fleet_rules);

    writer = (reader_t) { .index = index, .stop = &stop };
    assert_int_equal(pthread_create(&writes, NULL, writer_run, &writer), 0);

    for (i = 0; i < READERS; i++) {
        readers[i] = (reader_t) { .index = i == READERS - 1 ? other : index };
        assert_int_equal(pthread_create(&reads[i], NULL, reader_run,
                                        &readers[i]), 0);
    }

    for (i = 0; i < READERS; i++) {
        pthread_join(reads[i], NULL);
    }

    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(writes, NULL);

    for (i = 0; i < READERS; i++) {
        print_message("reader: %zu whole, %zu not\n", readers[i].valid,
                      readers[i].torn);

        if (readers[i].wrong != NULL) {
            fail_msg("%s", readers[i].wrong);
        }
    }

    assert_null(fleet_wrong(index));
    munmap(index, size);
    munmap(other, size);
    close(fd);
}


static void
processes_read_what_is_whole(void **state)
{
    int                  stop = 0, status, fd;
    pid_t                child;
    size_t               size = coco_fleet_index_size(READ_ROBOTS);
    reader_t             reader;
    coco_fleet_index_t  *index;

    fd = block_open(size);
    index = block_map(fd, size);
    coco_fleet_index_init(index, READ_ROBOTS, &fleet_rules);

    child = fork();
    assert_true(child >= 0);

    if (child == 0) {
        /* the writer, at another address; ends by a signal */
        reader = (reader_t) { .index = block_map(fd, size), .stop = &stop };
        writer_run(&reader);
        _exit(0);
    }

    reader = (reader_t) { .index = index };
    reader_run(&reader);

    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);

    print_message("reader: %zu whole, %zu not\n", reader.valid, reader.torn);
    if (reader.wrong != NULL) {
        fail_msg("%s", reader.wrong);
    }

    munmap(index, size);
    close(fd);
}


/* --- a writer that is killed ---------------------------------------------- */

/* Puts, each a change, and sweeps, without an end. What it puts is made up
 * before, so that it is mostly found at changing. */
static void
victim_run(coco_fleet_index_t *index, uint64_t seed, uint64_t *progress)
{
    char                  bufs[KILL_STATES][COCO_SERIAL_MAX];
    size_t                i;
    int64_t               now = FLEET_NOW;
    coco_str_t            serials[KILL_STATES];
    coco_supply_state_t   robots[KILL_STATES], *robot;

    fleet_random_seed(seed);

    for (i = 0; i < KILL_STATES; i++) {
        serials[i] = fleet_serial((uint32_t) fleet_random(KILL_ROBOTS + 2),
                                  bufs[i]);
        robots[i] = fleet_random_state_of(FLEET_DEPOTS, now);
        robots[i].parts |= COCO_SUPPLY_TELEMETRY | COCO_SUPPLY_BUSINESS;
    }

    for (i = 0; /* void */ ; i++) {
        robot = &robots[i % KILL_STATES];
        now += 500;              /* so that some are due each time */
        robot->telemetry.order.order_ms = now;
        robot->business.changed_at = now;
        coco_fleet_index_put(index, serials[i % KILL_STATES], robot, now);
        coco_fleet_index_sweep(index, now, 5);
        __atomic_add_fetch(progress, 1, __ATOMIC_RELAXED);
    }
}


/* Kills it after a random number of steps and a random while. True: it has
 * left a change half done, and says so. */
static bool
victim_kill(coco_fleet_index_t *index, uint64_t seed, uint64_t *progress)
{
    int                 status;
    pid_t               child;
    uint64_t            steps, i, spin;
    volatile uint64_t   sink = 0;

    steps = fleet_random(3000);
    spin = fleet_random(3000);
    *progress = 0;

    child = fork();
    assert_true(child >= 0);

    if (child == 0) {
        victim_run(index, seed, progress);
    }

    while (__atomic_load_n(progress, __ATOMIC_RELAXED) < steps) {
        sched_yield();
    }

    for (i = 0; i < spin; i++) {
        sink += i;
    }

    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    return coco_fleet_index_broken(index);
}


static void
killed_writer_leaves_it_broken_or_sound(void **state)
{
    int                  run, fd, broken = 0;
    size_t               size = coco_fleet_index_size(KILL_ROBOTS);
    uint64_t             begun, *progress;
    const char          *wrong;
    coco_fleet_index_t  *index;

    fd = block_open(size + sizeof(*progress) * 8);
    index = block_map(fd, size + sizeof(*progress) * 8);
    progress = (uint64_t *) ((char *) index + ((size + 7) & ~(size_t) 7));
    coco_fleet_index_init(index, KILL_ROBOTS, &fleet_rules);

    for (run = 0; run < KILLS; run++) {
        fleet_random_seed((uint64_t) run + 1);

        if (victim_kill(index, (uint64_t) run, progress)) {
            broken++;
            begun = coco_fleet_index_begin(index);
            coco_fleet_index_init(index, KILL_ROBOTS, &fleet_rules);
            assert_false(coco_fleet_index_end(index, begun));
            assert_false(coco_fleet_index_broken(index));
            assert_int_equal(coco_fleet_index_count(index), 0);
        }

        wrong = fleet_wrong(index);
        if (wrong != NULL) {
            fail_msg("after %d kills: %s", run + 1, wrong);
        }
    }

    print_message("%d of %d killed writers were amidst a change\n", broken,
                  KILLS);
    assert_true(broken > 0 && broken < KILLS);

    munmap(index, size + sizeof(*progress) * 8);
    close(fd);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(room_is_what_was_asked_for),
        cmocka_unit_test(sequence_moves_with_what_is_read),
        cmocka_unit_test(poles_and_the_date_line_are_places),
        cmocka_unit_test(crowds_outnumber_the_nodes),
        cmocka_unit_test(dense_fleets_are_searched_in_part),
        cmocka_unit_test(nonsense_has_an_end),
        cmocka_unit_test(threads_read_what_is_whole),
        cmocka_unit_test(processes_read_what_is_whole),
        cmocka_unit_test(killed_writer_leaves_it_broken_or_sound)
    };

    return cmocka_run_group_tests_name("fleet index", tests, NULL, NULL);
}
