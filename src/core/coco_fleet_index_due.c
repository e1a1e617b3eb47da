/*
 * The robots by the time at which they have to be looked at again: a binary
 * heap of all robots. Readers have no part in it.
 */

#include "coco_fleet_index_block.h"


static void due_up(coco_fleet_index_t *index, uint32_t place,
    fleet_due_t entry);
static void due_down(coco_fleet_index_t *index, uint32_t place,
    fleet_due_t entry);


static inline fleet_due_t *
fleet_heap(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_HEAP);
}


/* Of each robot, in the heap. */
static inline uint32_t *
fleet_heap_places(const coco_fleet_index_t *index)
{
    return fleet_array(index, FLEET_HEAP_PLACES);
}


void
coco_fleet_due_add(coco_fleet_index_t *index, uint32_t robot)
{
    due_up(index, robot, (fleet_due_t) { .due = INT64_MAX, .robot = robot });
}


void
coco_fleet_due_by(coco_fleet_index_t *index, uint32_t robot, int64_t due)
{
    uint32_t  place = fleet_heap_places(index)[robot];

    if (due < fleet_heap(index)[place].due) {
        due_up(index, place, (fleet_due_t) { .due = due, .robot = robot });
    }
}


fleet_due_t
coco_fleet_due_first(const coco_fleet_index_t *index)
{
    return fleet_heap(index)[0];
}


void
coco_fleet_due_later(coco_fleet_index_t *index, int64_t due)
{
    due_down(index, 0, (fleet_due_t) {
        .due = due, .robot = fleet_heap(index)[0].robot
    });
}


static inline void
due_set(coco_fleet_index_t *index, uint32_t place, fleet_due_t entry)
{
    fleet_heap(index)[place] = entry;
    fleet_heap_places(index)[entry.robot] = place;
}


static void
due_up(coco_fleet_index_t *index, uint32_t place, fleet_due_t entry)
{
    uint32_t      parent;
    fleet_due_t  *heap = fleet_heap(index);

    while (place > 0) {
        parent = (place - 1) / 2;

        if (heap[parent].due <= entry.due) {
            break;
        }

        due_set(index, place, heap[parent]);
        place = parent;
    }

    due_set(index, place, entry);
}


static void
due_down(coco_fleet_index_t *index, uint32_t place, fleet_due_t entry)
{
    uint32_t      child;
    fleet_due_t  *heap = fleet_heap(index);

    while ((child = 2 * place + 1) < index->count) {

        if (child + 1 < index->count
            && heap[child + 1].due < heap[child].due)
        {
            child++;
        }

        if (entry.due <= heap[child].due) {
            break;
        }

        due_set(index, place, heap[child]);
        place = child;
    }

    due_set(index, place, entry);
}
