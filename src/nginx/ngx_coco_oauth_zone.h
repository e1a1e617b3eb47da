/*
 * The tokens of all worker processes, in shared memory (coco_oauth_zone): what
 * coco_oauth.h decides, under a lock, for the one who asks.
 */

#ifndef NGX_COCO_OAUTH_ZONE_H
#define NGX_COCO_OAUTH_ZONE_H

#include "ngx_coco.h"
#include "coco_oauth.h"

typedef struct ngx_coco_oauth_zone_s  ngx_coco_oauth_zone_t;

/* Why there is no token. */
typedef enum {
    NGX_COCO_OAUTH_UNREACHABLE = 0,     /* the server that gives them */
    NGX_COCO_OAUTH_LATE,
    NGX_COCO_OAUTH_BUSY,
    NGX_COCO_OAUTH_DENIED,
    NGX_COCO_OAUTH_UNUSABLE,
    NGX_COCO_OAUTH_REFUSED              /* it is, by the one it is for */
} ngx_coco_oauth_failure_e;

typedef struct {
    coco_oauth_turn_e         turn;
    uint64_t                  flight;   /* of RENEW and FETCH */
    ngx_coco_oauth_failure_e  failure;  /* of FAIL */
    uint64_t                  number;   /* of USE and RENEW */
    size_t                    len;
    u_char                    token[COCO_OAUTH_TOKEN_MAX];
} ngx_coco_oauth_taken_t;

/* The directive's whole work. A reload keeps what is in it. */
char *ngx_coco_oauth_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* How many tokens a zone of the configuration has room for. */
ngx_uint_t ngx_coco_oauth_zone_room(const ngx_coco_oauth_zone_t *zone);

/* As coco_oauth_take() has it, for the credentials that `key` is a digest
 * of; timeout in ms. */
void ngx_coco_oauth_zone_take(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t refused, ngx_msec_t timeout, ngx_coco_oauth_taken_t *ret);

/* The ends of a flight; grant NULL: it failed. */
void ngx_coco_oauth_zone_end(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t flight, const coco_oauth_grant_t *grant,
    ngx_coco_oauth_failure_e failure);
void ngx_coco_oauth_zone_abandon(ngx_coco_oauth_zone_t *zone,
    const coco_id_t *key, uint64_t flight);

void ngx_coco_oauth_zone_refused(ngx_coco_oauth_zone_t *zone,
    const coco_id_t *key, uint64_t number);

ngx_uint_t ngx_coco_oauth_zone_pending(ngx_coco_oauth_zone_t *zone,
    const coco_id_t *key);

#endif /* NGX_COCO_OAUTH_ZONE_H */
