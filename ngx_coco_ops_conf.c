/*
 * A location's configuration of the ops module: its beginning and what it
 * inherits. Must never know what a value is for.
 */

#include "ngx_coco_ops_conf.h"


void *
ngx_coco_ops_create_loc_conf(ngx_conf_t *cf)
{
    ngx_coco_ops_loc_conf_t  *olcf;

    olcf = ngx_pcalloc(cf->pool, sizeof(ngx_coco_ops_loc_conf_t));
    if (olcf == NULL) {
        return NULL;
    }

    olcf->uber_keys = NGX_CONF_UNSET_PTR;
    olcf->doordash_tokens = NGX_CONF_UNSET_PTR;

    return olcf;
}


char *
ngx_coco_ops_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_coco_ops_loc_conf_t  *prev = parent;
    ngx_coco_ops_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->uber_keys, prev->uber_keys, NULL);
    ngx_conf_merge_ptr_value(conf->doordash_tokens, prev->doordash_tokens,
                             NULL);
    ngx_conf_merge_str_value(conf->mds.provider, prev->mds.provider, "");
    ngx_conf_merge_str_value(conf->mds.vehicle, prev->mds.vehicle, "");
    ngx_conf_merge_str_value(conf->mds.url, prev->mds.url, "");

    return NGX_CONF_OK;
}
