/*
 * The table of a queue's messages in flight. Must never let a message be
 * deleted that no lane has committed.
 */

#include <pthread.h>
#include <stdlib.h>

#include "sqs_slots.h"

#define COCO_SQS_INDEX(tag)  ((uint32_t) (tag))


typedef enum {
    COCO_SQS_FREE = 0,
    COCO_SQS_TAKEN,         /* by the owner's thread, just now */
    COCO_SQS_HELD,          /* kept back */
    COCO_SQS_AWAITED,       /* a lane has it */
    COCO_SQS_COMMITTED,     /* and waits to be deleted */
    COCO_SQS_LEAVING        /* being deleted, or given back */
} coco_sqs_state_e;

typedef struct {
    /* the mutex's, as done() sees them; changed by the owner alone otherwise */
    uint32_t          generation;
    coco_sqs_state_e  state;

    uint32_t          next;         /* free, held or committed: its list */
    uint32_t          due_next;     /* of the list of due ones */
    uint32_t          due_prev;
    bool              dueing;       /* is in that list */
    int64_t           due;          /* monotonic ms */
    int64_t           received_at;  /* the same */
    char             *receipt;
    size_t            receipt_len;
    coco_message_t   *held;         /* and its strings, in one allocation */
    size_t            held_size;
} coco_sqs_slot_t;

typedef struct {
    uint32_t  first;
    uint32_t  last;
    size_t    count;
} coco_sqs_list_t;

struct coco_sqs_slots_s {
    size_t            count;
    coco_sqs_slot_t  *slots;
    coco_sqs_list_t   free;
    coco_sqs_list_t   held;
    size_t            held_bytes;
    uint32_t          due_first;    /* ascending by due */
    uint32_t          due_last;
    uint32_t          swept;        /* by undone(): slots below this one */

    pthread_mutex_t   mutex;        /* committed, states, generations */
    coco_sqs_list_t   committed;
};


static coco_sqs_slot_t *coco_sqs_slot(const coco_sqs_slots_t *slots,
    uint64_t tag);
static uint64_t coco_sqs_tag(const coco_sqs_slots_t *slots, uint32_t index);
static void coco_sqs_state_set(coco_sqs_slots_t *slots, coco_sqs_slot_t *s,
    coco_sqs_state_e state);
static coco_message_t *coco_sqs_message_copy(const coco_message_t *message,
    size_t *ret_size);
static coco_str_t coco_sqs_copy(char **p, coco_str_t s);
static void coco_sqs_held_free(coco_sqs_slots_t *slots, coco_sqs_slot_t *s);
static void coco_sqs_due_remove(coco_sqs_slots_t *slots, uint32_t index);
static void coco_sqs_list_push(coco_sqs_slots_t *slots, coco_sqs_list_t *list,
    uint32_t index);
static uint32_t coco_sqs_list_pop(coco_sqs_slots_t *slots,
    coco_sqs_list_t *list);


coco_sqs_slots_t *
coco_sqs_slots_create(size_t count)
{
    coco_sqs_slots_t  *slots;

    slots = calloc(1, sizeof(*slots));
    if (slots == NULL) {
        return NULL;
    }

    slots->slots = calloc(count, sizeof(*slots->slots));
    if (slots->slots == NULL) {
        free(slots);
        return NULL;
    }

    slots->count = count;
    slots->due_first = COCO_SQS_NO_SLOT;
    slots->due_last = COCO_SQS_NO_SLOT;
    pthread_mutex_init(&slots->mutex, NULL);    /* cannot fail: plain */

    for (uint32_t i = 0; i < count; i++) {
        slots->slots[i].generation = 1;
        coco_sqs_list_push(slots, &slots->free, i);
    }

    return slots;
}


void
coco_sqs_slots_destroy(coco_sqs_slots_t *slots)
{
    if (slots == NULL) {
        return;
    }

    for (size_t i = 0; i < slots->count; i++) {
        free(slots->slots[i].receipt);
        free(slots->slots[i].held);
    }

    pthread_mutex_destroy(&slots->mutex);
    free(slots->slots);
    free(slots);
}


bool
coco_sqs_slots_done(coco_sqs_slots_t *slots, uint64_t tag)
{
    bool              first = false;
    coco_sqs_slot_t  *s;

    pthread_mutex_lock(&slots->mutex);

    s = coco_sqs_slot(slots, tag);

    if (s != NULL && s->state == COCO_SQS_AWAITED) {
        s->state = COCO_SQS_COMMITTED;
        first = slots->committed.count == 0;
        coco_sqs_list_push(slots, &slots->committed, COCO_SQS_INDEX(tag));
    }

    pthread_mutex_unlock(&slots->mutex);

    return first;
}


size_t
coco_sqs_slots_free(const coco_sqs_slots_t *slots)
{
    return slots->free.count;
}


size_t
coco_sqs_slots_used(const coco_sqs_slots_t *slots)
{
    return slots->count - slots->free.count;
}


size_t
coco_sqs_slots_held(const coco_sqs_slots_t *slots)
{
    return slots->held_bytes;
}


uint64_t
coco_sqs_slots_take(coco_sqs_slots_t *slots, coco_str_t receipt, int64_t now,
    int64_t due)
{
    char             *copy;
    uint32_t          index;
    uint64_t          tag;
    coco_sqs_slot_t  *s;

    if (slots->free.count == 0) {
        return 0;
    }

    copy = malloc(receipt.len);
    if (copy == NULL) {
        return 0;
    }

    index = coco_sqs_list_pop(slots, &slots->free);
    s = &slots->slots[index];
    memcpy(copy, receipt.data, receipt.len);
    s->receipt = copy;
    s->receipt_len = receipt.len;
    s->received_at = now;
    coco_sqs_state_set(slots, s, COCO_SQS_TAKEN);

    tag = coco_sqs_tag(slots, index);
    coco_sqs_slots_redue(slots, tag, due);

    return tag;
}


void
coco_sqs_slots_drop(coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);
    if (s == NULL) {
        return;
    }

    coco_sqs_due_remove(slots, COCO_SQS_INDEX(tag));
    coco_sqs_held_free(slots, s);
    free(s->receipt);
    s->receipt = NULL;

    pthread_mutex_lock(&slots->mutex);
    s->state = COCO_SQS_FREE;
    s->generation++;
    s->generation += s->generation == 0;        /* no tag is 0 */
    pthread_mutex_unlock(&slots->mutex);

    coco_sqs_list_push(slots, &slots->free, COCO_SQS_INDEX(tag));
}


coco_str_t
coco_sqs_slots_receipt(const coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);

    return s != NULL ? (coco_str_t) { s->receipt, s->receipt_len }
                     : (coco_str_t) { NULL, 0 };
}


int64_t
coco_sqs_slots_received_at(const coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);

    return s != NULL ? s->received_at : 0;
}


void
coco_sqs_slots_await(coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_state_set(slots, coco_sqs_slot(slots, tag), COCO_SQS_AWAITED);
}


void
coco_sqs_slots_unawait(coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_state_set(slots, coco_sqs_slot(slots, tag), COCO_SQS_TAKEN);
}


int
coco_sqs_slots_hold(coco_sqs_slots_t *slots, uint64_t tag,
    const coco_message_t *message)
{
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);

    s->held = coco_sqs_message_copy(message, &s->held_size);
    if (s->held == NULL) {
        return COCO_ERROR;
    }

    slots->held_bytes += s->held_size;
    coco_sqs_state_set(slots, s, COCO_SQS_HELD);
    coco_sqs_list_push(slots, &slots->held, COCO_SQS_INDEX(tag));

    return COCO_OK;
}


static coco_message_t *
coco_sqs_message_copy(const coco_message_t *message, size_t *ret_size)
{
    char            *p;
    coco_message_t  *m;

    *ret_size = sizeof(*m) + message->serial.len + message->payload.len;

    m = malloc(*ret_size);
    if (m == NULL) {
        return NULL;
    }

    p = (char *) (m + 1);
    *m = *message;
    m->serial = coco_sqs_copy(&p, message->serial);
    m->payload = coco_sqs_copy(&p, message->payload);

    return m;
}


static coco_str_t
coco_sqs_copy(char **p, coco_str_t s)
{
    coco_str_t  copy = { NULL, 0 };

    if (s.data != NULL) {
        copy.data = memcpy(*p, s.data, s.len);
        copy.len = s.len;
        *p += s.len;
    }

    return copy;
}


static void
coco_sqs_held_free(coco_sqs_slots_t *slots, coco_sqs_slot_t *s)
{
    if (s->held != NULL) {
        slots->held_bytes -= s->held_size;
        free(s->held);
        s->held = NULL;
    }
}


void
coco_sqs_slots_offer(coco_sqs_slots_t *slots,
    int (*offer)(void *data, const coco_message_t *message), void *data)
{
    uint32_t          index;
    uint64_t          tag;
    coco_sqs_slot_t  *s;

    for (size_t n = slots->held.count; n > 0; n--) {
        index = coco_sqs_list_pop(slots, &slots->held);
        s = &slots->slots[index];
        tag = coco_sqs_tag(slots, index);

        coco_sqs_slots_await(slots, tag);

        if (offer(data, s->held) == COCO_OK) {
            coco_sqs_held_free(slots, s);

        } else {
            coco_sqs_state_set(slots, s, COCO_SQS_HELD);
            coco_sqs_list_push(slots, &slots->held, index);
        }
    }
}


size_t
coco_sqs_slots_waiting(coco_sqs_slots_t *slots)
{
    size_t  count;

    pthread_mutex_lock(&slots->mutex);
    count = slots->committed.count;
    pthread_mutex_unlock(&slots->mutex);

    return count;
}


size_t
coco_sqs_slots_committed(coco_sqs_slots_t *slots, uint64_t *ret, size_t max)
{
    size_t    n = 0;
    uint32_t  index;

    pthread_mutex_lock(&slots->mutex);

    while (n < max && slots->committed.count > 0) {
        index = coco_sqs_list_pop(slots, &slots->committed);
        slots->slots[index].state = COCO_SQS_LEAVING;
        ret[n++] = coco_sqs_tag(slots, index);
    }

    pthread_mutex_unlock(&slots->mutex);

    return n;
}


void
coco_sqs_slots_recommit(coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);

    pthread_mutex_lock(&slots->mutex);
    s->state = COCO_SQS_COMMITTED;
    coco_sqs_list_push(slots, &slots->committed, COCO_SQS_INDEX(tag));
    pthread_mutex_unlock(&slots->mutex);
}


size_t
coco_sqs_slots_due(coco_sqs_slots_t *slots, int64_t now, uint64_t *ret,
    size_t max)
{
    size_t            n = 0;
    uint32_t          index;
    coco_sqs_slot_t  *s;

    pthread_mutex_lock(&slots->mutex);

    while (n < max && slots->due_first != COCO_SQS_NO_SLOT
           && slots->slots[slots->due_first].due <= now)
    {
        index = slots->due_first;
        s = &slots->slots[index];
        coco_sqs_due_remove(slots, index);

        if (s->state == COCO_SQS_AWAITED || s->state == COCO_SQS_HELD) {
            ret[n++] = coco_sqs_tag(slots, index);
        }
    }

    pthread_mutex_unlock(&slots->mutex);

    return n;
}


void
coco_sqs_slots_redue(coco_sqs_slots_t *slots, uint64_t tag, int64_t due)
{
    uint32_t          index, after, *link;
    coco_sqs_slot_t  *s;

    s = coco_sqs_slot(slots, tag);
    if (s == NULL) {
        return;
    }

    index = COCO_SQS_INDEX(tag);
    coco_sqs_due_remove(slots, index);

    /* all wait equally long, so that its place is at the end; what is tried
     * again, at the start */
    after = slots->due_last;

    if (slots->due_first != COCO_SQS_NO_SLOT
        && slots->slots[slots->due_first].due >= due)
    {
        after = COCO_SQS_NO_SLOT;
    }

    while (after != COCO_SQS_NO_SLOT && slots->slots[after].due > due) {
        after = slots->slots[after].due_prev;
    }

    link = after == COCO_SQS_NO_SLOT ? &slots->due_first
                                     : &slots->slots[after].due_next;
    s->due = due;
    s->dueing = true;
    s->due_prev = after;
    s->due_next = *link;
    *link = index;

    link = s->due_next == COCO_SQS_NO_SLOT
           ? &slots->due_last : &slots->slots[s->due_next].due_prev;
    *link = index;
}


static void
coco_sqs_due_remove(coco_sqs_slots_t *slots, uint32_t index)
{
    uint32_t         *link;
    coco_sqs_slot_t  *s;

    s = &slots->slots[index];
    if (!s->dueing) {
        return;
    }

    link = s->due_prev == COCO_SQS_NO_SLOT
           ? &slots->due_first : &slots->slots[s->due_prev].due_next;
    *link = s->due_next;

    link = s->due_next == COCO_SQS_NO_SLOT
           ? &slots->due_last : &slots->slots[s->due_next].due_prev;
    *link = s->due_prev;

    s->dueing = false;
}


int64_t
coco_sqs_slots_due_at(const coco_sqs_slots_t *slots)
{
    return slots->due_first == COCO_SQS_NO_SLOT
           ? INT64_MAX : slots->slots[slots->due_first].due;
}


size_t
coco_sqs_slots_undone(coco_sqs_slots_t *slots, uint64_t *ret, size_t max)
{
    size_t            n = 0;
    coco_sqs_slot_t  *s;

    pthread_mutex_lock(&slots->mutex);

    for ( /* void */ ; slots->swept < slots->count && n < max; slots->swept++)
    {
        s = &slots->slots[slots->swept];

        if (s->state == COCO_SQS_AWAITED || s->state == COCO_SQS_HELD) {
            s->state = COCO_SQS_LEAVING;
            ret[n++] = coco_sqs_tag(slots, slots->swept);
        }
    }

    pthread_mutex_unlock(&slots->mutex);

    return n;
}


/* NULL when the tag's stay has ended. */
static coco_sqs_slot_t *
coco_sqs_slot(const coco_sqs_slots_t *slots, uint64_t tag)
{
    coco_sqs_slot_t  *s;

    if (COCO_SQS_INDEX(tag) >= slots->count) {
        return NULL;
    }

    s = &slots->slots[COCO_SQS_INDEX(tag)];

    return s->generation == tag >> 32 ? s : NULL;
}


static uint64_t
coco_sqs_tag(const coco_sqs_slots_t *slots, uint32_t index)
{
    return (uint64_t) slots->slots[index].generation << 32 | index;
}


static void
coco_sqs_state_set(coco_sqs_slots_t *slots, coco_sqs_slot_t *s,
    coco_sqs_state_e state)
{
    pthread_mutex_lock(&slots->mutex);
    s->state = state;
    pthread_mutex_unlock(&slots->mutex);
}


static void
coco_sqs_list_push(coco_sqs_slots_t *slots, coco_sqs_list_t *list,
    uint32_t index)
{
    slots->slots[index].next = COCO_SQS_NO_SLOT;

    if (list->count++ == 0) {
        list->first = index;
    } else {
        slots->slots[list->last].next = index;
    }

    list->last = index;
}


static uint32_t
coco_sqs_list_pop(coco_sqs_slots_t *slots, coco_sqs_list_t *list)
{
    uint32_t  index = list->first;

    list->first = slots->slots[index].next;
    list->count--;

    return index;
}
