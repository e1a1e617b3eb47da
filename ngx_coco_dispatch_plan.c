/*
 * Plans: the usable robots are copied from the supply in pieces, a thread does
 * the rest. A job and all it needs outlive the request, which may go away at
 * any time; the loop must never wait for a thread.
 */

#include "ngx_coco_base.h"
#include "ngx_coco_dispatch_conf.h"
#include "ngx_coco_dispatch_plan.h"
#include "ngx_coco_dispatch_trip.h"
#include "ngx_coco_op.h"
#include "ngx_coco_pause.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_supply.h"
#include "coco_message.h"
#include "coco_plan.h"

#include <ngx_thread_pool.h>
#include <sys/resource.h>


#define NGX_COCO_PLAN_DEMANDS  2000
#define NGX_COCO_PLAN_ID_MAX   128      /* bytes */

/* Jobs of a process, those of requests that went away included. */
#define NGX_COCO_PLAN_JOBS     8

/* ms a request waits for the thread */
#define NGX_COCO_PLAN_TIME     30000

/* Robots copied before others have their turn, a millisecond's work; and how
 * often in a row it may be that none could be, for somebody was writing. */
#define NGX_COCO_PLAN_PIECE    8192
#define NGX_COCO_PLAN_ROUNDS   200

/* How often the supply is asked for, being emptied while it was copied. */
#define NGX_COCO_PLAN_SUPPLIES 4

#define NGX_COCO_PLAN_ERRORS   16       /* told at most */

/* What the loop has to do comes before. */
#define NGX_COCO_PLAN_NICE     10


typedef struct {
    coco_str_t               id;        /* JSON, with its quotes */
    coco_trip_t              trip;
} ngx_coco_plan_demand_t;


typedef struct {
    ngx_coco_ident_t         ident;     /* first: the timer's data */
    ngx_event_t              timer;     /* while the thread has the job */
    ngx_pool_t              *pool;      /* of the job */
    ngx_http_request_t      *request;   /* NULL: it has ended */
    ngx_http_cleanup_t      *cleanup;   /* of it */
    ngx_uint_t               threaded;  /* the thread has the job: who comes
                                           back from there frees it */

    const coco_trip_rules_t *rules;
    int64_t                  now;       /* ms, of the supply */
    ngx_uint_t               partial;
    ngx_coco_plan_demand_t  *demands;
    uint32_t                 count;
    coco_plan_robot_t       *robots;    /* walk.kept of them */
    ngx_coco_trip_walk_t     walk;
    ngx_uint_t               rounds;
    ngx_uint_t               supplies;
    ngx_uint_t               shared;    /* the supply */

    ngx_str_t                body;      /* the thread's, ngx_free()d; data
                                           NULL: memory was out */
} ngx_coco_plan_job_t;


/* For the uniqueness of ids. */
typedef struct {
    coco_str_t               id;
    uint32_t                 demand;
} ngx_coco_plan_id_t;


static ngx_coco_plan_job_t *ngx_coco_plan_create(ngx_http_request_t *r,
    uint32_t count);
static void ngx_coco_plan_destroy(ngx_coco_plan_job_t *job);
static void ngx_coco_plan_detach(ngx_coco_plan_job_t *job);
static void ngx_coco_plan_cleanup(void *data);
static ngx_int_t ngx_coco_plan_body(ngx_http_request_t *r,
    const coco_json_value_t *demands, ngx_coco_plan_job_t *job,
    ngx_array_t *errors);
static ngx_int_t ngx_coco_plan_demand(ngx_http_request_t *r,
    const coco_json_value_t *value, ngx_coco_plan_job_t *job,
    ngx_coco_plan_id_t *id);
static ngx_int_t ngx_coco_plan_unique(ngx_coco_plan_id_t *ids, uint32_t count,
    ngx_array_t *errors);
static int ngx_coco_plan_id_compare(const void *a, const void *b);
static const char *ngx_coco_plan_id(const coco_json_value_t *value);
static const char *ngx_coco_plan_array(const coco_json_value_t *value);
static ngx_int_t ngx_coco_plan_supply(ngx_http_request_t *r,
    const coco_fleet_index_t *index, ngx_uint_t shared, ngx_uint_t partial,
    void *data);
static bool ngx_coco_plan_robot_read(void *data,
    const coco_fleet_index_t *index, uint32_t robot, uint32_t kept);
static ngx_int_t ngx_coco_plan_piece(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_plan_copied(ngx_http_request_t *r,
    ngx_coco_plan_job_t *job);
static ngx_int_t ngx_coco_plan_post(ngx_http_request_t *r,
    ngx_coco_plan_job_t *job);
static void ngx_coco_plan_thread(void *data, ngx_log_t *log);
static void ngx_coco_plan_give_way(ngx_log_t *log);
static ngx_int_t ngx_coco_plan_compute(ngx_coco_plan_job_t *job,
    coco_trip_plan_t *trips, void *work, coco_plan_result_t *results,
    ngx_log_t *log);
static void ngx_coco_plan_encode(coco_json_out_t *out,
    const ngx_coco_plan_job_t *job, const coco_plan_result_t *results,
    double total);
static void ngx_coco_plan_encode_seconds(coco_json_out_t *out, double value);
static coco_str_t ngx_coco_plan_reason(const ngx_coco_plan_job_t *job,
    const coco_plan_result_t *result);
static void ngx_coco_plan_done(ngx_event_t *ev);
static void ngx_coco_plan_expired(ngx_event_t *ev);
static void ngx_coco_plan_finalize(ngx_http_request_t *r, ngx_int_t rc);
static ngx_int_t ngx_coco_plan_failed(ngx_http_request_t *r,
    const char *detail);


static const ngx_coco_body_member_t  ngx_coco_plan_members[] = {
    { .name = coco_string("demands"), .required = 1,
      .check = ngx_coco_plan_array },
    { .name = { NULL, 0 } }
};


static const ngx_coco_body_member_t  ngx_coco_plan_demand_members[] = {
    { .name = coco_string("id"), .required = 1, .check = ngx_coco_plan_id },
    { .name = coco_string("pickup"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("dropoff"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("readyAt"), .nullable = 1,
      .check = ngx_coco_trip_time },
    { .name = { NULL, 0 } }
};


static ngx_uint_t  ngx_coco_plan_jobs;      /* of this process */


ngx_int_t
ngx_coco_plan_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    size_t                pos;
    uint32_t              count;
    ngx_int_t             rc;
    coco_str_t            name;
    ngx_array_t           errors;
    coco_error_t          err;
    coco_json_value_t     body, demands, element;
    ngx_coco_plan_job_t  *job;

    if (coco_message_read(&body, ngx_coco_str(call->body), &err) != COCO_OK) {
        return ngx_coco_reply_bad_field(r, &err);
    }

    if (ngx_array_init(&errors, r->pool, 1, sizeof(coco_error_t)) != NGX_OK
        || ngx_coco_body_check(&body, ngx_coco_plan_members, "", &errors)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (errors.nelts) {
        return ngx_coco_reply_bad_fields(r, errors.elts, errors.nelts);
    }

    /* the only member */

    pos = 0;
    (void) coco_json_member_next(&body, &pos, &name, &demands);

    for (pos = 0, count = 0;
         coco_json_element_next(&demands, &pos, &element);
         count++)
    { /* void */ }

    if (count > NGX_COCO_PLAN_DEMANDS) {
        return ngx_coco_reply_problem(r, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                      "A plan takes up to 2,000 demands.");
    }

    if (ngx_coco_plan_jobs == NGX_COCO_PLAN_JOBS) {
        return ngx_coco_plan_failed(r, "Too many plans are being made; try "
                                    "again.");
    }

    job = ngx_coco_plan_create(r, count);
    if (job == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_coco_plan_body(r, &demands, job, &errors);

    if (rc != NGX_OK) {
        ngx_coco_plan_detach(job);
        return rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR
                    : ngx_coco_reply_bad_fields(r, errors.elts, errors.nelts);
    }

    return ngx_coco_supply(r, ngx_coco_plan_supply, job);
}


static ngx_coco_plan_job_t *
ngx_coco_plan_create(ngx_http_request_t *r, uint32_t count)
{
    ngx_pool_t           *pool;
    ngx_coco_plan_job_t  *job;

    pool = ngx_create_pool(ngx_pagesize, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    job = ngx_pcalloc(pool, sizeof(ngx_coco_plan_job_t));
    if (job == NULL) {
        goto failed;
    }

    job->demands = ngx_palloc(pool,
                              count * sizeof(ngx_coco_plan_demand_t) + 1);
    job->cleanup = ngx_http_cleanup_add(r, 0);

    if (job->demands == NULL || job->cleanup == NULL) {
        goto failed;
    }

    job->cleanup->handler = ngx_coco_plan_cleanup;
    job->cleanup->data = job;

    job->ident.fd = (ngx_socket_t) -1;
    job->timer.data = job;
    job->timer.handler = ngx_coco_plan_expired;
    job->timer.log = ngx_cycle->log;
    job->pool = pool;
    job->request = r;
    job->rules = &ngx_coco_dispatch_conf(r)->rules;

    ngx_coco_plan_jobs++;

    return job;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


static void
ngx_coco_plan_destroy(ngx_coco_plan_job_t *job)
{
    ngx_coco_plan_jobs--;

    if (job->timer.timer_set) {
        ngx_del_timer(&job->timer);
    }

    if (job->body.data) {
        ngx_free(job->body.data);
    }

    ngx_destroy_pool(job->pool);
}


/* The request ends, or needs the job no longer. */

static void
ngx_coco_plan_detach(ngx_coco_plan_job_t *job)
{
    job->cleanup->handler = NULL;
    job->request = NULL;

    if (!job->threaded) {
        ngx_coco_plan_destroy(job);
    }
}


static void
ngx_coco_plan_cleanup(void *data)
{
    ngx_coco_plan_detach(data);
}


/* NGX_DECLINED: `errors` names what is at fault. */

static ngx_int_t
ngx_coco_plan_body(ngx_http_request_t *r, const coco_json_value_t *demands,
    ngx_coco_plan_job_t *job, ngx_array_t *errors)
{
    char                 path[sizeof("demands[2000].")];
    size_t               pos;
    ngx_uint_t           before;
    coco_error_t        *err;
    coco_json_value_t    value;
    ngx_coco_plan_id_t  *ids;

    ids = ngx_palloc(r->pool, NGX_COCO_PLAN_DEMANDS
                              * sizeof(ngx_coco_plan_id_t));
    if (ids == NULL) {
        return NGX_ERROR;
    }

    for (pos = 0; coco_json_element_next(demands, &pos, &value);
         job->count++)
    {
        if (errors->nelts >= NGX_COCO_PLAN_ERRORS) {
            return NGX_DECLINED;
        }

        snprintf(path, sizeof(path), "demands[%u].", (unsigned) job->count);
        before = errors->nelts;

        if (value.type != COCO_JSON_OBJECT) {
            err = ngx_array_push(errors);
            if (err == NULL) {
                return NGX_ERROR;
            }

            path[ngx_strlen(path) - 1] = '\0';
            (void) coco_error_set(err, path, "must be an object");

        } else if (ngx_coco_body_check(&value, ngx_coco_plan_demand_members,
                                       path, errors)
                   != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (errors->nelts == before
            && ngx_coco_plan_demand(r, &value, job, &ids[job->count])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return errors->nelts ? NGX_DECLINED
                         : ngx_coco_plan_unique(ids, job->count, errors);
}


static ngx_int_t
ngx_coco_plan_demand(ngx_http_request_t *r, const coco_json_value_t *value,
    ngx_coco_plan_job_t *job, ngx_coco_plan_id_t *id)
{
    char                    *text;
    coco_json_value_t        v[4];
    ngx_coco_plan_demand_t  *demand;

    static const coco_str_t  names[] = {
        coco_string("id"), coco_string("pickup"), coco_string("dropoff"),
        coco_string("readyAt")
    };

    coco_message_members(value, names, 4, v);

    demand = &job->demands[job->count];
    ngx_coco_trip_place_read(&v[1], &demand->trip.pickup);
    ngx_coco_trip_place_read(&v[2], &demand->trip.dropoff);
    demand->trip.ready_at = coco_message_has(&v[3]) ? v[3].int64 : 0;

    text = ngx_pnalloc(job->pool, v[0].text.len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text, v[0].text.data, v[0].text.len);
    demand->id = (coco_str_t) { text, v[0].text.len };

    text = ngx_pnalloc(r->pool, v[0].string.len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    id->id = coco_json_unescape(&v[0], text);
    id->demand = job->count;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_plan_unique(ngx_coco_plan_id_t *ids, uint32_t count,
    ngx_array_t *errors)
{
    char           path[sizeof("demands[2000].id")];
    uint32_t       i;
    coco_error_t  *err;

    ngx_qsort(ids, count, sizeof(ngx_coco_plan_id_t),
              ngx_coco_plan_id_compare);

    for (i = 1; i < count; i++) {

        if (!coco_str_equal(ids[i].id, ids[i - 1].id)) {
            continue;
        }

        err = ngx_array_push(errors);
        if (err == NULL) {
            return NGX_ERROR;
        }

        snprintf(path, sizeof(path), "demands[%u].id",
                 (unsigned) ids[i].demand);
        (void) coco_error_set(err, path, "must be unique; demands[%u] has it "
                              "too", (unsigned) ids[i - 1].demand);

        return NGX_DECLINED;
    }

    return NGX_OK;
}


static int
ngx_coco_plan_id_compare(const void *a, const void *b)
{
    int                        rc;
    const ngx_coco_plan_id_t  *one = a, *two = b;

    rc = coco_str_compare(one->id, two->id);

    return rc ? rc : one->demand < two->demand ? -1 : 1;
}


static const char *
ngx_coco_plan_id(const coco_json_value_t *value)
{
    return ngx_coco_body_string(value, NGX_COCO_PLAN_ID_MAX)
           ? NULL : "must be a string of 1 to 128 bytes";
}


static const char *
ngx_coco_plan_array(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_ARRAY ? NULL
                                          : "must be an array of demands";
}


/* The zone's supply lives as long as the configuration: it may be copied in
 * pieces. Another one is gone when this returns, and nobody writes it. */

static ngx_int_t
ngx_coco_plan_supply(ngx_http_request_t *r, const coco_fleet_index_t *index,
    ngx_uint_t shared, ngx_uint_t partial, void *data)
{
    ngx_coco_plan_job_t  *job = data;

    uint32_t  count;

    if (index == NULL) {
        ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                             NGX_COCO_COUNTER_PLANS_FAILED, 1);
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    count = ngx_min(coco_fleet_index_count(index),
                    coco_fleet_index_capacity(index));

    job->robots = ngx_palloc(job->pool,
                             count * sizeof(coco_plan_robot_t) + 1);
    if (job->robots == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    job->partial = partial;
    job->now = ngx_coco_now_ms();
    job->shared = shared;
    job->rounds = 0;
    job->walk.index = index;
    job->walk.next = 0;
    job->walk.last = count;
    job->walk.kept = 0;
    job->walk.read = ngx_coco_plan_robot_read;
    job->walk.data = job;

    if (shared) {
        return ngx_coco_plan_piece(r, job);
    }

    (void) ngx_coco_trip_walk(&job->walk, count);

    return ngx_coco_plan_post(r, job);
}


static bool
ngx_coco_plan_robot_read(void *data, const coco_fleet_index_t *index,
    uint32_t robot, uint32_t kept)
{
    ngx_coco_plan_job_t  *job = data;

    coco_str_t                  serial;
    coco_plan_robot_t          *copy;
    const coco_supply_state_t  *state;

    state = coco_fleet_index_state(index, robot);

    if (coco_supply_reasons(state, coco_fleet_index_rules(index), job->now,
                            NULL)
        != 0)
    {
        return false;
    }

    serial = coco_fleet_index_serial(index, robot);
    copy = &job->robots[kept];

    copy->serial_len = ngx_min(serial.len, COCO_SERIAL_MAX);
    ngx_memcpy(copy->serial, serial.data, copy->serial_len);
    copy->telemetry = state->telemetry;

    return true;
}


static ngx_int_t
ngx_coco_plan_piece(ngx_http_request_t *r, void *data)
{
    ngx_coco_plan_job_t  *job = data;

    uint32_t  begun;

    begun = job->walk.next;

    if (ngx_coco_trip_walk(&job->walk, NGX_COCO_PLAN_PIECE) == NGX_OK) {
        return ngx_coco_plan_copied(r, job);
    }

    job->rounds = job->walk.next > begun ? 0 : job->rounds + 1;

    if (job->rounds == NGX_COCO_PLAN_ROUNDS) {
        return ngx_coco_plan_failed(r, "The supply keeps changing; try "
                                    "again.");
    }

    return ngx_coco_pause(r, 1, ngx_coco_plan_piece, job);
}


/* Of a fleet that was emptied and is loaded, a robot may have been copied
 * twice, and others not at all. */

static ngx_int_t
ngx_coco_plan_copied(ngx_http_request_t *r, ngx_coco_plan_job_t *job)
{
    if (ngx_coco_supply_whole(r, job->shared)) {
        return ngx_coco_plan_post(r, job);
    }

    if (++job->supplies == NGX_COCO_PLAN_SUPPLIES) {
        return ngx_coco_plan_failed(r, "The supply keeps being emptied; try "
                                    "again.");
    }

    return ngx_coco_supply(r, ngx_coco_plan_supply, job);
}


static ngx_int_t
ngx_coco_plan_post(ngx_http_request_t *r, ngx_coco_plan_job_t *job)
{
    ngx_thread_task_t          *task;
    ngx_coco_dispatch_conf_t   *dcf;

    dcf = ngx_coco_dispatch_conf(r);

    task = ngx_thread_task_alloc(job->pool, 0);
    if (task == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    task->ctx = job;
    task->handler = ngx_coco_plan_thread;
    task->event.data = job;
    task->event.handler = ngx_coco_plan_done;

    if (ngx_thread_task_post(dcf->threads, task) != NGX_OK) {
        return ngx_coco_plan_failed(r, "Too many plans are being made; try "
                                    "again.");
    }

    job->threaded = 1;
    ngx_add_timer(&job->timer, NGX_COCO_PLAN_TIME);

    return ngx_coco_wait(r);
}


/* In the thread: nothing of the loop's is touched, but for the job, which the
 * loop leaves alone meanwhile (its request and timer apart). */

static void
ngx_coco_plan_thread(void *data, ngx_log_t *log)
{
    ngx_coco_plan_job_t  *job = data;

    void                *work;
    size_t               size;
    coco_trip_plan_t    *trips;
    coco_plan_result_t  *results;

    ngx_coco_plan_give_way(log);

    size = coco_plan_size(job->count, job->walk.kept);

    work = size ? ngx_alloc(size, log) : NULL;
    trips = ngx_alloc(job->count * sizeof(coco_trip_plan_t) + 1, log);
    results = ngx_alloc(job->count * sizeof(coco_plan_result_t) + 1, log);

    if (work == NULL || trips == NULL || results == NULL
        || ngx_coco_plan_compute(job, trips, work, results, log) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "coco: a plan of %uD demands and %uD robots needs more "
                      "memory than there is", job->count, job->walk.kept);
    }

    ngx_free(work);
    ngx_free(trips);
    ngx_free(results);
}


/* Linux gives each thread a priority of its own; elsewhere it would be that of
 * the whole process. */

static void
ngx_coco_plan_give_way(ngx_log_t *log)
{
#if (NGX_LINUX)
    static __thread ngx_uint_t  given;

    if (!given && setpriority(PRIO_PROCESS, 0, NGX_COCO_PLAN_NICE) == -1) {
        ngx_log_error(NGX_LOG_WARN, log, ngx_errno,
                      "coco: setpriority() of a thread that plans failed");
    }

    given = 1;
#endif
}


static ngx_int_t
ngx_coco_plan_compute(ngx_coco_plan_job_t *job, coco_trip_plan_t *trips,
    void *work, coco_plan_result_t *results, ngx_log_t *log)
{
    char             *start;
    double            total;
    size_t            size;
    uint32_t          i;
    coco_json_out_t   out;

    for (i = 0; i < job->count; i++) {
        coco_trip_plan(&trips[i], job->rules, &job->demands[i].trip,
                       job->now);
    }

    coco_plan(trips, job->count, job->robots, job->walk.kept, work, results,
              &total);

    /* once to count, once to write */

    for (start = NULL, size = 0; /* void */ ; size = out.len) {

        if (size) {
            start = ngx_alloc(size, log);
            if (start == NULL) {
                return NGX_ERROR;
            }
        }

        coco_json_out_init(&out, start, size);
        ngx_coco_plan_encode(&out, job, results, total);

        if (coco_json_out_ok(&out)) {
            job->body.data = (u_char *) start;
            job->body.len = out.len;
            return NGX_OK;
        }
    }
}


static void
ngx_coco_plan_encode(coco_json_out_t *out, const ngx_coco_plan_job_t *job,
    const coco_plan_result_t *results, double total)
{
    uint32_t                  i;
    const coco_plan_robot_t  *robot;

    coco_json_object_open(out);
    coco_json_name(out, "assignments");
    coco_json_array_open(out);

    for (i = 0; i < job->count; i++) {
        if (results[i].robot == COCO_ROBOT_NONE) {
            continue;
        }

        robot = &job->robots[results[i].robot];

        coco_json_object_open(out);
        coco_json_name(out, "demandId");
        coco_json_json(out, job->demands[i].id);
        coco_json_name(out, "serial");
        coco_json_string(out, (coco_str_t) { robot->serial,
                                             robot->serial_len });
        coco_json_name(out, "costSeconds");
        ngx_coco_plan_encode_seconds(out, results[i].cost);
        coco_json_object_close(out);
    }

    coco_json_array_close(out);
    coco_json_name(out, "totalCostSeconds");
    ngx_coco_plan_encode_seconds(out, total);
    coco_json_name(out, "unassigned");
    coco_json_array_open(out);

    for (i = 0; i < job->count; i++) {
        if (results[i].robot != COCO_ROBOT_NONE) {
            continue;
        }

        coco_json_object_open(out);
        coco_json_name(out, "demandId");
        coco_json_json(out, job->demands[i].id);
        coco_json_name(out, "reason");
        coco_json_string(out, ngx_coco_plan_reason(job, &results[i]));
        coco_json_object_close(out);
    }

    coco_json_array_close(out);

    if (job->partial) {
        coco_json_name(out, "partial");
        coco_json_bool(out, true);
    }

    coco_json_object_close(out);
}


/* With 17 digits a number reads back as it was; to find the fewest that do
 * takes ten times as long. nginx sets no locale. */

static void
ngx_coco_plan_encode_seconds(coco_json_out_t *out, double value)
{
    int   n;
    char  text[32];

    n = snprintf(text, sizeof(text), "%.17g", value);
    coco_json_json(out, (coco_str_t) { text, (size_t) n });
}


/* The first that rules out every usable robot. */

static coco_str_t
ngx_coco_plan_reason(const ngx_coco_plan_job_t *job,
    const coco_plan_result_t *result)
{
    return job->walk.kept && result->reasons
           ? coco_reason_name(__builtin_ctz(result->reasons))
           : coco_string("NO_ROBOT");
}


/* Back on the loop. */

static void
ngx_coco_plan_done(ngx_event_t *ev)
{
    ngx_coco_plan_job_t  *job = ev->data;

    ngx_int_t                  rc;
    ngx_str_t                  body;
    ngx_http_request_t        *r;

    job->threaded = 0;
    r = job->request;

    if (r == NULL) {
        ngx_coco_plan_destroy(job);
        return;
    }

    ngx_http_set_log_request(r->connection->log, r);

    if (job->body.data == NULL) {
        rc = ngx_coco_plan_failed(r, "The plan needs more memory than there "
                                  "is; ask for fewer demands.");

    } else if ((body.data = ngx_pnalloc(r->pool, job->body.len)) == NULL) {
        rc = NGX_HTTP_INTERNAL_SERVER_ERROR;

    } else {
        ngx_memcpy(body.data, job->body.data, job->body.len);
        body.len = job->body.len;
        ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                             NGX_COCO_COUNTER_PLANS, 1);
        rc = ngx_coco_reply_json(r, NGX_HTTP_OK, &body);
    }

    ngx_coco_plan_detach(job);
    ngx_coco_plan_finalize(r, rc);
}


static void
ngx_coco_plan_expired(ngx_event_t *ev)
{
    ngx_coco_plan_job_t  *job = ev->data;

    ngx_http_request_t  *r;

    r = job->request;

    if (r == NULL) {
        return;
    }

    ngx_http_set_log_request(r->connection->log, r);
    ngx_coco_plan_detach(job);

    ngx_coco_plan_finalize(r, ngx_coco_plan_failed(r,
                                  "The plan takes too long; ask for fewer "
                                  "demands, or again later."));
}


static void
ngx_coco_plan_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_coco_plan_failed(ngx_http_request_t *r, const char *detail)
{
    ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                         NGX_COCO_COUNTER_PLANS_FAILED, 1);

    return ngx_coco_trip_busy(r, detail);
}
