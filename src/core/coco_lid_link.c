/*
 * Which request an open or a failure answers, or a close names, and what that
 * says of commands.
 * Must never ask in which order the marks came, only when they happened.
 */

#include "coco_lid_walk.h"


static bool mark_opens(const coco_lid_mark_t *mark);
static bool mark_closes(const coco_lid_mark_t *mark);
static size_t request_named(const coco_lid_mark_t *marks, size_t newest,
    const coco_id_t *command);
static size_t request_live(const coco_lid_mark_t *marks, size_t newest,
    int64_t at, int64_t window_ms);
static void answer_put(coco_lid_t *lid, const coco_lid_answer_t *answer);


/* Those that name a command come first: what they answer is not for others,
 * wherever these stand. */
void
coco_lid_link(coco_lid_mark_t *marks, size_t count, int64_t window_ms)
{
    bool              opens;
    size_t            i, newest = COCO_LID_NO_INDEX;
    coco_lid_mark_t  *mark;

    for (i = 0; i < count; i++) {
        marks[i].taken = marks[i].failed = false;
        marks[i].request = COCO_LID_NO_INDEX;

        if (marks[i].event == COCO_LID_OPEN_REQUEST) {
            marks[i].request = newest;
            newest = i;
        }
    }

    for (i = 0; i < count; i++) {
        mark = &marks[i];
        opens = mark_opens(mark);

        if (!mark->has_command
            || !(opens || mark_closes(mark)
                 || mark->event == COCO_LID_OPEN_FAILED))
        {
            continue;
        }

        mark->request = request_named(marks, newest, &mark->command);

        if (mark->request != COCO_LID_NO_INDEX && !mark_closes(mark)) {
            marks[mark->request].taken |= opens;
            marks[mark->request].failed |= !opens;
        }
    }

    for (i = 0; i < count; i++) {
        mark = &marks[i];
        opens = mark->event == COCO_LID_OPENED;

        if (mark->has_command
            || !(opens || mark->event == COCO_LID_OPEN_FAILED))
        {
            continue;
        }

        mark->request = request_live(marks, newest, mark->at, window_ms);

        if (mark->request != COCO_LID_NO_INDEX) {
            marks[mark->request].taken = opens;
            marks[mark->request].failed = !opens;
        }
    }
}


static bool
mark_opens(const coco_lid_mark_t *mark)
{
    return mark->event == COCO_LID_OPENED
           || mark->event == COCO_LID_PIN_OPENED;
}


/* A close answers nothing: the open that it names may come yet. */
static bool
mark_closes(const coco_lid_mark_t *mark)
{
    return mark->event == COCO_LID_CLOSED
           || mark->event == COCO_LID_PIN_CLOSED;
}


static size_t
request_named(const coco_lid_mark_t *marks, size_t newest,
    const coco_id_t *command)
{
    size_t  i;

    for (i = newest; i != COCO_LID_NO_INDEX; i = marks[i].request) {
        if (marks[i].has_command
            && coco_lid_id_equal(&marks[i].command, command))
        {
            break;
        }
    }

    return i;
}


/* The newest that may be meant by what happened at a time. The robot's clock
 * and ours may differ by the window. */
static size_t
request_live(const coco_lid_mark_t *marks, size_t newest, int64_t at,
    int64_t window_ms)
{
    size_t  i;

    for (i = newest; i != COCO_LID_NO_INDEX; i = marks[i].request) {
        if (!marks[i].taken && !marks[i].failed
            && marks[i].at - window_ms <= at
            && at <= marks[i].expires_at + window_ms)
        {
            break;
        }
    }

    return i;
}


void
coco_lid_answer(coco_lid_t *lid, size_t first, const coco_lid_cycle_t *cycles)
{
    size_t                  i;
    coco_lid_answer_t       answer;
    const coco_lid_mark_t  *mark, *named;

    lid->answer_count = 0;

    for (i = first; i < lid->mark_count; i++) {
        mark = &lid->marks[i];

        if (!mark_opens(mark) && mark->event != COCO_LID_OPEN_FAILED) {
            continue;
        }

        /* the request may be older than what was read, its command lives */
        named = mark->request != COCO_LID_NO_INDEX
                ? &lid->marks[mark->request] : mark;

        if (!named->has_command) {
            continue;
        }

        answer = (coco_lid_answer_t) {
            .command = named->command,
            .opened = mark_opens(mark),
            .reason = mark->reason
        };

        if (answer.opened) {
            answer.cycle = cycles[mark->cycle].index;

            if (answer.cycle == COCO_LID_NO_INDEX) {
                continue;         /* beyond the edge: it is nothing new */
            }
        }

        answer_put(lid, &answer);
    }
}


static void
answer_put(coco_lid_t *lid, const coco_lid_answer_t *answer)
{
    size_t  i;

    for (i = 0; i < lid->answer_count; i++) {
        if (coco_lid_id_equal(&lid->answers[i].command, &answer->command)) {
            if (answer->opened && !lid->answers[i].opened) {
                lid->answers[i] = *answer;
            }

            return;
        }
    }

    lid->answers[lid->answer_count++] = *answer;
}
