/*
 * The fleet's records, who of them is usable, and the sequence by which
 * readers notice a change. Must never leave a reader without an end, nor with
 * an address outside the block.
 */

#include "coco_fleet_index_block.h"


typedef uint64_t __attribute__((may_alias))  word_t;

_Static_assert(sizeof(coco_supply_state_t) % sizeof(word_t) == 0,
               "a state is copied by words");
_Static_assert(sizeof(fleet_record_t) == 192, "three lines of the cache");


static uint32_t robot_add(coco_fleet_index_t *index, coco_str_t serial);
static void robot_settle(coco_fleet_index_t *index, uint32_t robot,
    const coco_supply_state_t *state, coco_reasons_t reasons);
static void reasons_count(coco_fleet_index_t *index, coco_reasons_t was,
    coco_reasons_t is);
static void writing_begin(coco_fleet_index_t *index);
static void writing_end(coco_fleet_index_t *index);
static void change_begin(coco_fleet_index_t *index);
static void change_end(coco_fleet_index_t *index);
static uint32_t *slot_find(const coco_fleet_index_t *index, coco_str_t serial);


size_t
coco_fleet_index_size(uint32_t robots)
{
    size_t  size;

    if (robots > FLEET_ROBOTS_MAX
        || __builtin_mul_overflow((size_t) robots, FLEET_ROBOT, &size)
        || __builtin_add_overflow(size, sizeof(coco_fleet_index_t), &size))
    {
        return 0;
    }

    return size;
}


void
coco_fleet_index_init(void *block, uint32_t robots,
    const coco_supply_rules_t *rules)
{
    size_t               i;
    uint32_t            *slots;
    coco_fleet_index_t  *index = block;

    fleet_set(index->sequence, index->sequence | 1);
    writing_begin(index);

    fleet_set(index->capacity, robots);
    fleet_set(index->count, 0);
    fleet_set(index->usable, 0);
    index->rules = *rules;

    for (i = 0; i < COCO_REASONS_STANDING; i++) {
        fleet_set(index->counts[i], 0);
    }

    slots = fleet_array(index, FLEET_SLOTS);

    for (i = 0; i < (size_t) robots * 2; i++) {
        fleet_set(slots[i], 0);
    }

    coco_fleet_place_init(index);

    change_end(index);
    writing_end(index);
}


bool
coco_fleet_index_broken(const coco_fleet_index_t *index)
{
    return fleet_get(index->writing) || (fleet_get(index->sequence) & 1);
}


int
coco_fleet_index_put(coco_fleet_index_t *index, coco_str_t serial,
    const coco_supply_state_t *state, int64_t now)
{
    int64_t              until;
    uint32_t             robot;
    unsigned             newer;
    coco_reasons_t       reasons;
    coco_supply_state_t  next = { .parts = 0 };

    robot = coco_fleet_index_find(index, serial);

    if (robot != COCO_ROBOT_NONE) {
        next = fleet_records(index)[robot].state;

    } else if (index->count == index->capacity || serial.len == 0
               || serial.len > COCO_SERIAL_MAX)
    {
        return COCO_ERROR;
    }

    newer = coco_supply_merge(&next, state);
    if (newer == 0) {
        return 0;
    }

    reasons = coco_supply_reasons(&next, &index->rules, now, &until);

    writing_begin(index);
    change_begin(index);

    if (robot == COCO_ROBOT_NONE) {
        robot = robot_add(index, serial);
    }

    robot_settle(index, robot, &next, reasons);
    coco_fleet_due_by(index, robot, until);

    change_end(index);
    writing_end(index);

    return (int) newer;
}


int64_t
coco_fleet_index_sweep(coco_fleet_index_t *index, int64_t now, uint32_t max)
{
    int64_t                until;
    fleet_due_t            first;
    coco_reasons_t         reasons;
    coco_supply_state_t    state;
    const fleet_record_t  *record;

    if (index->count == 0) {
        return INT64_MAX;
    }

    for (first = coco_fleet_due_first(index);
         first.due < now && max > 0;
         first = coco_fleet_due_first(index), max--)
    {
        writing_begin(index);

        record = &fleet_records(index)[first.robot];
        reasons = coco_supply_reasons(&record->state, &index->rules, now,
                                      &until);

        if (reasons != record->reasons) {
            state = record->state;
            change_begin(index);
            robot_settle(index, first.robot, &state, reasons);
            change_end(index);
        }

        coco_fleet_due_later(index, until);
        writing_end(index);
    }

    return first.due == INT64_MAX ? INT64_MAX : first.due + 1;
}


static uint32_t
robot_add(coco_fleet_index_t *index, coco_str_t serial)
{
    uint32_t         robot = index->count;
    uint32_t        *slot = slot_find(index, serial);
    fleet_record_t  *record = &fleet_records(index)[robot];

    memcpy(record->serial, serial.data, serial.len);
    record->serial_len = (uint8_t) serial.len;
    fleet_set(record->reasons, FLEET_UNCOUNTED);

    coco_fleet_due_add(index, robot);

    /* whoever sees the number sees the serial */
    __atomic_store_n(slot, robot + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&index->count, robot + 1, __ATOMIC_RELEASE);

    return robot;
}


/* Gives the robot its state, and the place and the counts that follow. */
static void
robot_settle(coco_fleet_index_t *index, uint32_t robot,
    const coco_supply_state_t *state, coco_reasons_t reasons)
{
    size_t           i;
    word_t          *to;
    const word_t    *from = (const word_t *) state;
    fleet_point_t    point;
    fleet_record_t  *record = &fleet_records(index)[robot];
    coco_reasons_t   was = record->reasons;

    to = (word_t *) &record->state;

    for (i = 0; i < sizeof(*state) / sizeof(word_t); i++) {
        fleet_set(to[i], from[i]);
    }

    fleet_set(record->reasons, reasons);
    reasons_count(index, was, reasons);

    if (reasons != 0) {
        if (was == 0) {
            coco_fleet_place_remove(index, robot);
        }

        return;
    }

    coco_fleet_place_point(&point, &state->telemetry);

    if (was == 0) {
        coco_fleet_place_move(index, robot, &point);

    } else {
        coco_fleet_place_insert(index, robot, &point);
    }
}


static void
reasons_count(coco_fleet_index_t *index, coco_reasons_t was,
    coco_reasons_t is)
{
    size_t  i;

    for (i = 0; i < COCO_REASONS_STANDING; i++) {
        if (((was ^ is) >> i) & 1) {
            fleet_set(index->counts[i],
                      index->counts[i] + ((is >> i) & 1)
                      - ((was >> i) & 1));
        }
    }

    fleet_set(index->usable, index->usable + (is == 0) - (was == 0));
}


/* The barriers keep what is between begin and end between them: for readers on
 * other processors, and for whoever finds what a killed writer left. */
static void
writing_begin(coco_fleet_index_t *index)
{
    fleet_set(index->writing, 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}


static void
writing_end(coco_fleet_index_t *index)
{
    __atomic_store_n(&index->writing, 0, __ATOMIC_RELEASE);
}


static void
change_begin(coco_fleet_index_t *index)
{
    fleet_set(index->sequence, index->sequence + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}


static void
change_end(coco_fleet_index_t *index)
{
    __atomic_store_n(&index->sequence, index->sequence + 1, __ATOMIC_RELEASE);
}


uint64_t
coco_fleet_index_begin(const coco_fleet_index_t *index)
{
    return __atomic_load_n(&index->sequence, __ATOMIC_ACQUIRE);
}


bool
coco_fleet_index_end(const coco_fleet_index_t *index, uint64_t begun)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    return fleet_get(index->sequence) == begun && (begun & 1) == 0;
}


uint32_t
coco_fleet_index_count(const coco_fleet_index_t *index)
{
    return __atomic_load_n(&index->count, __ATOMIC_ACQUIRE);
}


uint32_t
coco_fleet_index_capacity(const coco_fleet_index_t *index)
{
    return fleet_get(index->capacity);
}


const coco_supply_rules_t *
coco_fleet_index_rules(const coco_fleet_index_t *index)
{
    return &index->rules;
}


uint32_t
coco_fleet_index_find(const coco_fleet_index_t *index, coco_str_t serial)
{
    uint32_t   robot;
    uint32_t  *slot = slot_find(index, serial);

    robot = slot == NULL ? COCO_ROBOT_NONE : fleet_get(*slot) - 1;

    return robot < coco_fleet_index_capacity(index) ? robot : COCO_ROBOT_NONE;
}


/* The slot of the serial, or the empty one where it belongs; NULL when there
 * is none. Slots hold a robot + 1; half of them are always empty. */
static uint32_t *
slot_find(const coco_fleet_index_t *index, coco_str_t serial)
{
    size_t           i, slots = (size_t) fleet_get(index->capacity) * 2;
    uint32_t         at, robot, *table = fleet_array(index, FLEET_SLOTS);
    uint64_t         hash = UINT64_C(0xcbf29ce484222325);       /* FNV-1a */
    fleet_record_t  *record;

    for (i = 0; i < serial.len; i++) {
        hash = (hash ^ (unsigned char) serial.data[i])
               * UINT64_C(0x100000001b3);
    }

    /* the last characters have not reached the upper bits yet */
    hash = (hash ^ (hash >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
    at = (uint32_t) (((hash >> 32) * slots) >> 32);

    for (i = 0; i < slots; i++) {
        robot = __atomic_load_n(&table[at], __ATOMIC_ACQUIRE) - 1;

        if (robot >= slots / 2) {
            return &table[at];
        }

        record = &fleet_records(index)[robot];

        if (record->serial_len == serial.len
            && serial.len <= COCO_SERIAL_MAX
            && memcmp(record->serial, serial.data, serial.len) == 0)
        {
            return &table[at];
        }

        at = at + 1 < slots ? at + 1 : 0;
    }

    return NULL;
}


coco_str_t
coco_fleet_index_serial(const coco_fleet_index_t *index, uint32_t robot)
{
    const fleet_record_t  *record = &fleet_records(index)[robot];
    size_t                 len = record->serial_len;

    return (coco_str_t) {
        record->serial, len < COCO_SERIAL_MAX ? len : COCO_SERIAL_MAX
    };
}


const coco_supply_state_t *
coco_fleet_index_state(const coco_fleet_index_t *index, uint32_t robot)
{
    return &fleet_records(index)[robot].state;
}


void
coco_fleet_index_counts(const coco_fleet_index_t *index,
    uint32_t ret[COCO_REASONS_STANDING], uint32_t *ret_usable)
{
    size_t  i;

    for (i = 0; i < COCO_REASONS_STANDING; i++) {
        ret[i] = fleet_get(index->counts[i]);
    }

    *ret_usable = fleet_get(index->usable);
}
