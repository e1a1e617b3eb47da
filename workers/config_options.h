/*
 * The table of the worker's options, and the reading of one value by its row.
 */

#ifndef COCO_CONFIG_OPTIONS_H
#define COCO_CONFIG_OPTIONS_H

#include "config.h"

typedef enum {
    COCO_OPTION_STRING = 0,     /* min, max: its length; empty is unset */
    COCO_OPTION_SECRET,         /* a string that no file may hold */
    COCO_OPTION_NUMBER,
    COCO_OPTION_DURATION,       /* ms; written with ms, s, m, h or d */
    COCO_OPTION_SIZE,           /* bytes; written with or without k, M, G */
    COCO_OPTION_CHOICE          /* one of `words`, by its place */
} coco_option_type_e;

typedef struct {
    const char          *name;         /* "section.key" */
    coco_option_type_e   type;
    const char          *preset;       /* the default, as one would write it */
    uint64_t             min, max;
    const char          *words;        /* separated by a space */
    size_t               offset;       /* in coco_config_t */
} coco_option_t;

#define COCO_OPTION_NAME_SIZE  64

extern const coco_option_t  coco_options[];
extern const size_t         coco_options_count;

/* By "section.key"; NULL if there is none. */
const coco_option_t *coco_option_find(const char *name);

/* The option whose name is nearest to a mistyped one; NULL if none is near. */
const coco_option_t *coco_option_nearest(const char *name);

/* Reads `text` into config; what was there is freed. COCO_ERROR with what is
 * wrong and what would be right in `error`. */
int coco_option_read(const coco_option_t *option, coco_config_t *config,
    const char *text, char *error, size_t error_size);

/* "COCO_WORKER_MQTT_PORT". */
void coco_option_env(char *ret, const coco_option_t *option);

const char *coco_option_type(const coco_option_t *option);

static inline void *
coco_option_value(const coco_option_t *option, coco_config_t *config)
{
    return (char *) config + option->offset;
}

static inline bool
coco_option_is_text(const coco_option_t *option)
{
    return option->type == COCO_OPTION_STRING
           || option->type == COCO_OPTION_SECRET;
}

#endif /* COCO_CONFIG_OPTIONS_H */
