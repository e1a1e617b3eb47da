/*
 * Requests that command a robot to open its lid: the command is written, its
 * outcome waited for, and told. Must never say that a lid stayed closed when
 * nobody knows.
 */

#include "ngx_coco_command.h"
#include "ngx_coco_base.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"


#define NGX_COCO_COMMAND_REPLY_SIZE  160

#define NGX_COCO_COMMAND_FAILED   "The robot could not open its lid"
#define NGX_COCO_COMMAND_SILENT                                              \
    "The robot did not report in time that its lid is open, and the command " \
    "has expired. See that the robot is online, then ask again, with a new "  \
    "Idempotency-Key if there was one."
#define NGX_COCO_COMMAND_UNKNOWN                                             \
    "Postgres %s: whether the lid opens is not known. %s"
#define NGX_COCO_COMMAND_REPEAT                                              \
    "Ask again with the same Idempotency-Key: one key opens once."
#define NGX_COCO_COMMAND_LOOK                                                \
    "Look at GET /state/{serial}/lid before asking again."


struct ngx_coco_command_s {
    ngx_http_request_t  *request;
    ngx_coco_waiter_t   *waiter;
    coco_id_t            id;
    ngx_uint_t           begun;         /* ngx_coco_replies_begin()'s */
    ngx_int_t            rc;
    unsigned             keyed:1;       /* by an Idempotency-Key: it may be
                                           an older command */
    unsigned             waits:1;       /* id is known */
    unsigned             failed:1;      /* the robot could not open */
};


typedef struct {
    coco_str_t  id;
    coco_str_t  cycle;
} ngx_coco_command_doc_t;


static void ngx_coco_command_written(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_command_wait(ngx_http_request_t *r, void *data);
static void ngx_coco_command_done(ngx_http_request_t *r, void *data);
static void ngx_coco_command_answer(void *data, ngx_coco_outcome_e outcome,
    const PGresult *result, int row);
static ngx_int_t ngx_coco_command_opened(ngx_http_request_t *r,
    const PGresult *result, int row);
static void ngx_coco_command_encode(coco_json_out_t *out, void *data);
static ngx_int_t ngx_coco_command_failed(ngx_http_request_t *r,
    coco_str_t reason);
static ngx_int_t ngx_coco_command_unknown(ngx_coco_command_t *command,
    ngx_coco_outcome_e outcome);
static void ngx_coco_command_count(void *data);


ngx_coco_command_t *
ngx_coco_command_begin(ngx_http_request_t *r)
{
    ngx_coco_command_t  *command;
    ngx_http_cleanup_t  *cln;

    command = ngx_pcalloc(r->pool, sizeof(*command));
    cln = ngx_http_cleanup_add(r, 0);

    if (command == NULL || cln == NULL) {
        return NULL;
    }

    command->request = r;
    cln->handler = ngx_coco_command_count;
    cln->data = command;

    return command;
}


ngx_int_t
ngx_coco_command_open_lid(ngx_coco_command_t *command, ngx_coco_call_t *call,
    ngx_coco_pg_statement_t *statement, ngx_str_t *params)
{
    ngx_int_t              rc;
    ngx_str_t             *last;
    ngx_http_request_t    *r;
    ngx_coco_base_conf_t  *conf;

    r = command->request;
    conf = ngx_coco_base_conf(r);

    if (conf->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    if (ngx_coco_query_write_params(r, call, params, &rc) != NGX_OK) {
        return rc;
    }

    command->keyed = params[2].data != NULL;
    command->waiter = ngx_coco_waiter_create(r, ngx_coco_command_wait, command);

    last = &params[statement->nparams - 2];

    if (command->waiter == NULL
        || ngx_coco_query_param_int(r, conf->lid_timeout, &last[0]) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    command->begun = ngx_coco_replies_begin(conf->replies, &last[1]);

    if (ngx_coco_waiter_pg(command->waiter, statement, params,
                           ngx_coco_command_written)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(command->waiter);
}


static void
ngx_coco_command_written(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_command_t *command = data;

    if (outcome != NGX_COCO_DONE && outcome != NGX_COCO_FULL) {
        command->rc = ngx_coco_command_unknown(command, outcome);
        return;
    }

    /* what was refused for want of room was never sent */

    if (ngx_coco_query_check(command->request, outcome, result, &command->rc)
        != NGX_OK)
    {
        return;
    }

    if (ngx_coco_query_int(result, 0, 0) == NGX_HTTP_ACCEPTED
        && coco_id_parse(&command->id, ngx_coco_pg_field(result, 0, 1))
           == COCO_OK)
    {
        command->waits = 1;
        ngx_coco_replies_wake(ngx_coco_base_conf(command->request)->replies);
        return;
    }

    command->rc = ngx_coco_query_write_reply(command->request, result, NULL);
}


static void
ngx_coco_command_wait(ngx_http_request_t *r, void *data)
{
    ngx_coco_command_t *command = data;

    if (!command->waits) {
        ngx_coco_command_done(r, command);
        return;
    }

    ngx_coco_waiter_done_set(command->waiter, ngx_coco_command_done);
    r->connection->log->action = "waiting for the robot";

    if (ngx_coco_waiter_replies(command->waiter, &command->id, command->begun,
                                command->keyed, ngx_coco_command_answer)
        != NGX_OK)
    {
        command->rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        ngx_coco_command_done(r, command);
    }
}


static void
ngx_coco_command_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_command_t *command = data;

    ngx_coco_waiter_finalize(command->waiter, command->rc);
}


static void
ngx_coco_command_answer(void *data, ngx_coco_outcome_e outcome,
    const PGresult *result, int row)
{
    ngx_coco_command_t *command = data;

    coco_str_t           name;
    ngx_http_request_t  *r;

    r = command->request;

    if (outcome == NGX_COCO_DONE) {
        name = ngx_coco_pg_field(result, row, NGX_COCO_REPLIES_OUTCOME);

        if (coco_str_equal(name, coco_string("OPENED"))) {
            command->rc = ngx_coco_command_opened(r, result, row);
            return;
        }

        if (coco_str_equal(name, coco_string("FAILED"))) {
            command->failed = 1;
            command->rc = ngx_coco_command_failed(r,
                                      ngx_coco_pg_field(result, row,
                                                   NGX_COCO_REPLIES_REASON));
            return;
        }

    } else if (outcome != NGX_COCO_TIMEOUT) {
        command->rc = ngx_coco_command_unknown(command, outcome);
        return;
    }

    command->rc = ngx_coco_reply_problem(r, NGX_HTTP_GATEWAY_TIME_OUT,
                                     NGX_COCO_COMMAND_SILENT);
}


static ngx_int_t
ngx_coco_command_opened(ngx_http_request_t *r, const PGresult *result,
    int row)
{
    ngx_coco_command_doc_t  doc;

    doc.id = ngx_coco_pg_field(result, row, NGX_COCO_REPLIES_ID);
    doc.cycle = ngx_coco_pg_field(result, row, NGX_COCO_REPLIES_CYCLE);

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_COMMAND_REPLY_SIZE,
                                 ngx_coco_command_encode, &doc);
}


static void
ngx_coco_command_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_command_doc_t  *doc = data;

    coco_json_object_open(out);
    coco_json_name(out, "opened");
    coco_json_bool(out, true);
    coco_json_name(out, "cycleId");
    coco_json_string(out, doc->cycle);
    coco_json_name(out, "commandId");
    coco_json_string(out, doc->id);
    coco_json_object_close(out);
}


/* The reason is the robot's own words, and ends as it likes. */

static ngx_int_t
ngx_coco_command_failed(ngx_http_request_t *r, coco_str_t reason)
{
    u_char  *p, *detail;

    p = ngx_pnalloc(r->pool, sizeof(NGX_COCO_COMMAND_FAILED ": .")
                             + reason.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    detail = p;
    p = ngx_cpymem(p, NGX_COCO_COMMAND_FAILED,
                   sizeof(NGX_COCO_COMMAND_FAILED) - 1);

    if (reason.len) {
        *p++ = ':';
        *p++ = ' ';
        p = ngx_cpymem(p, reason.data, reason.len);
    }

    if (p[-1] != '.') {
        *p++ = '.';
    }

    *p = '\0';

    return ngx_coco_reply_problem(r, NGX_HTTP_CONFLICT, (char *) detail);
}


/* The statement may have been executed, or be executed yet. */

static ngx_int_t
ngx_coco_command_unknown(ngx_coco_command_t *command,
    ngx_coco_outcome_e outcome)
{
    u_char               detail[256];
    ngx_http_request_t  *r;

    static ngx_str_t  retry_after = ngx_string("1");

    r = command->request;

    *ngx_snprintf(detail, sizeof(detail) - 1, NGX_COCO_COMMAND_UNKNOWN,
                  ngx_coco_reply_outcome(outcome),
                  command->keyed ? NGX_COCO_COMMAND_REPEAT
                                 : NGX_COCO_COMMAND_LOOK)
        = '\0';

    if (ngx_coco_reply_header(r, "Retry-After", &retry_after) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  (char *) detail);
}


/* The request ends, whoever answered it: its status says how. */

static void
ngx_coco_command_count(void *data)
{
    ngx_coco_command_t *command = data;

    ngx_uint_t          status;
    ngx_coco_counter_e  counter;

    status = command->request->headers_out.status;

    if (status == NGX_HTTP_OK) {
        counter = NGX_COCO_COUNTER_LID_OPENED;

    } else if (command->failed) {
        counter = NGX_COCO_COUNTER_LID_FAILED;

    } else if (status == NGX_HTTP_GATEWAY_TIME_OUT) {
        counter = NGX_COCO_COUNTER_LID_SILENT;

    } else if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        counter = NGX_COCO_COUNTER_LID_UNAVAILABLE;

    } else if (status >= NGX_HTTP_BAD_REQUEST
               && status != NGX_HTTP_CLIENT_CLOSED_REQUEST)
    {
        counter = NGX_COCO_COUNTER_LID_REFUSED;

    } else {
        counter = NGX_COCO_COUNTER_LID_ABANDONED;
    }

    ngx_coco_metrics_add(ngx_coco_base_conf(command->request)->metrics,
                         counter, 1);
}
