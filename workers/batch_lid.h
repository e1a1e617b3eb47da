/*
 * What the files of the lids share: one part of a batch, robot by robot.
 * Everything lives in the arena of the writer.
 */

#ifndef COCO_BATCH_LID_H
#define COCO_BATCH_LID_H

#include "batch_work.h"

/* What lid_robot has. */
typedef struct {
    bool       known;              /* the lid's position is, */
    bool       is_open;            /* and is this */
    int64_t    changed_at;         /* ms, or COCO_NEVER */
    bool       has_suspect;        /* a heartbeat that contradicts: */
    coco_id_t  suspect;
    int64_t    suspect_at;         /* ms */
} coco_lid_place_t;

/* A row of the history that is ours. received_at is work->now. */
typedef struct {
    coco_id_t        id;
    coco_str_t       serial, type;
    int64_t          ts;           /* ms */
    coco_str_t       command;      /* as text; this and the rest data NULL:
                                      none */
    coco_str_t       reason, source, reference;
} coco_lid_row_t;

/* A command that expires, or one that a PIN entry causes. */
typedef struct {
    coco_id_t          id;
    coco_str_t         serial;
    coco_str_t         source, reference;
    int64_t            expires_at;
    bool               pending;    /* it has no outcome */
    bool               expires;    /* that is its outcome */
    const coco_item_t *item;       /* the task */
} coco_lid_command_t;

/* A RESYNC that was found here. */
typedef struct {
    coco_id_t   event;             /* the row of the history */
    coco_str_t  serial;
    int64_t     at;                /* ms */
    bool        open;
} coco_lid_resync_t;

typedef struct {
    coco_str_t               serial;
    coco_item_t            **items;         /* events first, by time */
    size_t                   count;
    bool                     reads;         /* marks and cycles are read, */
    bool                     asks;          /* deliveries: a PIN entry */
    int64_t                  since;         /* of what may be new, ms, or
                                               COCO_NEVER */
    int64_t                  until;         /* the newest of it; then, when it
                                               is long past, how far is read.
                                               NEVER: to the end */
    int64_t                  from;          /* of what is new, or NEVER */
    int64_t                  due_from;      /* of the task that waits, too */
    coco_id_t                task;          /* LID; one for each robot. None
                                               of what is long past */

    coco_lid_place_t         stored;
    coco_lid_place_t         place;         /* to be stored */

    coco_lid_mark_t         *marks;         /* room for one more an item */
    size_t                   mark_count;
    coco_lid_cycle_t        *cycles;        /* as stored */
    size_t                   cycle_count;
    coco_delivery_record_t  *deliveries;
    size_t                   delivery_count;
    coco_position_t          position;

    bool                     looked;        /* lid is filled */
    coco_lid_t               lid;
} coco_lid_robot_t;

struct coco_lid_work_s {
    int64_t              now;               /* ms */
    coco_lid_rules_t     rules;
    coco_item_t        **items;             /* by serial */
    size_t               item_count;
    coco_lid_robot_t    *robots;            /* by serial */
    size_t               count;

    coco_lid_command_t  *expiries;          /* by the tasks */
    size_t               expiry_count;

    /* what follows beside the records; each has room for all items */
    coco_lid_row_t      *rows;
    size_t               row_count;
    coco_lid_command_t  *commands;
    size_t               command_count;
    coco_lid_resync_t   *resyncs;
    size_t               resync_count;

    int                  ends;              /* the slot of the outcomes; -1 */
    size_t               anomalies;         /* written */
    size_t               completed;         /* cycles */
};

typedef struct coco_lid_work_s  coco_lid_work_t;

/* batch_lid_read.c: the round that locks, inserts the events and reads. */
coco_turn_e coco_lid_round(coco_writer_t *w);

/* batch_lid_pin.c: the robot asks to have its lid opened. COCO_ERROR: no
 * memory. */
int coco_lid_pin(coco_writer_t *w, coco_lid_robot_t *r,
    const coco_item_t *item);

/* Is what is new of the robot long past? Then only its days are read: the
 * robot's task, and whatever came after these, stay as they are. */
static inline bool
coco_lid_past(const coco_lid_robot_t *r)
{
    return r->until != COCO_NEVER;
}


/* The id of a robot's task LID; of what is long past from a time on, or with
 * NEVER that of the present. */
void coco_lid_task_id(coco_id_t *ret, coco_str_t serial, int64_t from);
/* An id of two parts and what caused it. */
void coco_lid_id(coco_id_t *ret, coco_str_t what, coco_str_t kind,
    const coco_id_t *cause);
/* The id as text, in the arena; data NULL without memory. */
coco_str_t coco_lid_id_text(coco_writer_t *w, const coco_id_t *id);
/* The event of the machine that an item is; -1: none. */
int coco_lid_item_event(const coco_item_t *item);

#endif /* COCO_BATCH_LID_H */
