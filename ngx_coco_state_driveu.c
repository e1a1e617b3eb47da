/*
 * DriveU's webhooks: who sends them is checked, then their form, then they
 * are stored for the worker. Must never apply one, nor log a secret.
 */

#include "ngx_coco_state_driveu.h"
#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_webhook.h"
#include "coco_connectivity.h"


#define NGX_COCO_DRIVEU_REPLY_SIZE  64


static ngx_int_t ngx_coco_state_driveu_refuse(ngx_http_request_t *r,
    const ngx_str_t *header, const char *why);
static ngx_int_t ngx_coco_state_driveu_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static void ngx_coco_state_driveu_encode(coco_json_out_t *out, void *data);


ngx_int_t
ngx_coco_state_driveu_check(ngx_http_request_t *r, ngx_int_t *ret_rc)
{
    ngx_table_elt_t            *h;
    ngx_coco_state_loc_conf_t  *slcf;

    if (ngx_coco_webhook_count(r, NGX_COCO_SENDER_DRIVEU) != NGX_OK) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    slcf = ngx_http_get_module_loc_conf(r, ngx_coco_state_module);
    h = ngx_coco_header_find(r, &slcf->header);

    if (h && ngx_coco_webhook_secret_known(slcf->secrets, 0, &h->value)) {
        return NGX_OK;
    }

    *ret_rc = ngx_coco_state_driveu_refuse(r, &slcf->header,
                  slcf->secrets == NULL ? "no coco_driveu_secret is configured"
                  : h ? "the secret is wrong" : "the secret is missing");

    return NGX_DECLINED;
}


static ngx_int_t
ngx_coco_state_driveu_refuse(ngx_http_request_t *r, const ngx_str_t *header,
    const char *why)
{
    u_char     detail[128];
    ngx_str_t  challenge;

    challenge.data = ngx_pnalloc(r->pool, header->len
                                          + sizeof(" realm=\"coco\"") - 1);
    if (challenge.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    challenge.len = ngx_sprintf(challenge.data, "%V realm=\"coco\"", header)
                    - challenge.data;

    *ngx_snprintf(detail, sizeof(detail) - 1,
                  "The shared secret is needed in the header %V.", header)
        = '\0';

    return ngx_coco_webhook_refuse(r, "driveu", why, &challenge,
                                   (char *) detail);
}


ngx_int_t
ngx_coco_state_driveu_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    size_t                n;
    coco_id_t            *id;
    coco_error_t          errors[COCO_CONNECTIVITY_ERRORS];
    ngx_coco_webhook_t    webhook;
    coco_connectivity_t   status;
    char                  event_id[COCO_ID_TEXT_LEN];

    webhook.provider = coco_string("driveu");
    webhook.payload = ngx_coco_str(call->body);
    webhook.received_at = ngx_coco_now_ms();

    if (coco_connectivity_decode(&status, webhook.payload,
                                 webhook.received_at, errors, &n)
        != COCO_OK)
    {
        return ngx_coco_reply_bad_fields(r, errors, n);
    }

    id = ngx_palloc(r->pool, sizeof(coco_id_t));
    if (id == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* DriveU numbers nothing */

    *id = status.id;
    coco_id_format(event_id, id);

    webhook.id = *id;
    webhook.event_id = (coco_str_t) { event_id, COCO_ID_TEXT_LEN };

    return ngx_coco_query_store(r, &webhook, ngx_coco_state_driveu_reply, id);
}


static ngx_int_t
ngx_coco_state_driveu_reply(ngx_http_request_t *r, PGresult *result,
    void *data)
{
    return ngx_coco_reply_encode(r, NGX_HTTP_ACCEPTED,
                                 NGX_COCO_DRIVEU_REPLY_SIZE,
                                 ngx_coco_state_driveu_encode, data);
}


static void
ngx_coco_state_driveu_encode(coco_json_out_t *out, void *data)
{
    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_id(out, data);
    coco_json_object_close(out);
}


void *
ngx_coco_state_create_loc_conf(ngx_conf_t *cf)
{
    ngx_coco_state_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_coco_state_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    slcf->secrets = NGX_CONF_UNSET_PTR;

    return slcf;
}


char *
ngx_coco_state_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_coco_state_loc_conf_t  *prev = parent;
    ngx_coco_state_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->secrets, prev->secrets, NULL);
    ngx_conf_merge_str_value(conf->header, prev->header, "X-DriveU-Token");

    return NGX_CONF_OK;
}


char *
ngx_coco_state_driveu_secret(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_state_loc_conf_t  *slcf = conf;

    ngx_str_t  *value, secret;

    value = cf->args->elts;

    if (ngx_coco_secret_read(cf, &value[1], &secret) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_webhook_secret_add(cf, &slcf->secrets, 0, &secret);
}


char *
ngx_coco_state_driveu_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_state_loc_conf_t  *slcf = conf;

    size_t      i;
    ngx_str_t  *value;

    if (slcf->header.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] != '-'
            && (value[1].data[i] < '0' || value[1].data[i] > '9')
            && ((value[1].data[i] | 0x20) < 'a'
                || (value[1].data[i] | 0x20) > 'z'))
        {
            break;
        }
    }

    /* nginx drops headers of other names unless it is told not to */

    if (i == 0 || i < value[1].len || i > 64) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_driveu_header\" must be a header's name, "
                           "1 to 64 of A-Z a-z 0-9 -, not \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->header = value[1];

    return NGX_CONF_OK;
}
