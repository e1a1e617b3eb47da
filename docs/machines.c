/*
 * Draws the state machines from the tables that the code uses: copies a text
 * from stdin to stdout, with what lies between `<!-- machine NAME -->` and
 * `<!-- end -->` made anew. Must never hold a transition of its own.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coco_delivery.h"
#include "coco_lid.h"
#include "coco_mds.h"


#define LINE_MAX_BYTES  8192


typedef struct {
    const char  *begin;
    void       (*print)(void);
} machine_t;


static bool machine_find(const char *line, const machine_t **ret);
static int section_skip(char *line);
static void lid_print(void);
static void lid_arrows_print(int from);
static bool lid_drawn(int from, const coco_lid_transition_t *way);
static void lid_table_print(void);
static void delivery_print(void);
static void delivery_table_print(void);
static void status_print(int status);
static void mds_print(void);
static void mds_arrow_print(int from, int to);
static void mds_table_print(void);
static void mds_cell_print(int from, int event);
static void name_print(coco_str_t name);


static const machine_t  machines[] = {
    { "<!-- machine lid -->\n", lid_print },
    { "<!-- machine delivery -->\n", delivery_print },
    { "<!-- machine mds -->\n", mds_print }
};

static const char  section_end[] = "<!-- end -->\n";

static const char *const  lid_states[COCO_LID_STATES] = {
    [COCO_LID_IDLE] = "Idle",
    [COCO_LID_REQUEST] = "Request",
    [COCO_LID_INIT] = "INIT",
    [COCO_LID_COMPLETE] = "COMPLETE"
};

/* the wire has one name for several */
static const char *const  lid_events[COCO_LID_EVENTS] = {
    [COCO_LID_OPEN_REQUEST] = "LID_OPEN_REQUEST",
    [COCO_LID_OPENED] = "LID_OPENED",
    [COCO_LID_PIN_OPENED] = "PIN_ENTRY_LID_OPEN true",
    [COCO_LID_PIN_ASKED] = "PIN_ENTRY_LID_OPEN false",
    [COCO_LID_OPEN_FAILED] = "LID_OPEN_FAILED",
    [COCO_LID_REQUEST_TIMEOUT] = "LID_OPEN_TIMEOUT",
    [COCO_LID_CLOSED] = "LID_CLOSED",
    [COCO_LID_PIN_CLOSED] = "PIN_ENTRY_LID_CLOSE",
    [COCO_LID_SEEN_OPEN] = "LID_OPENED of RESYNC",
    [COCO_LID_SEEN_CLOSED] = "LID_CLOSED of RESYNC",
    [COCO_LID_EXPIRY] = "time passes"
};


int
main(void)
{
    char              line[LINE_MAX_BYTES];
    const machine_t  *machine;

    while (fgets(line, sizeof(line), stdin) != NULL) {
        fputs(line, stdout);

        if (!machine_find(line, &machine)) {
            continue;
        }

        if (section_skip(line) != 0) {
            fprintf(stderr, "machines: no %.*s after %s",
                    (int) strlen(section_end) - 1, section_end,
                    machine->begin);
            return 1;
        }

        fputc('\n', stdout);
        machine->print();
        fputc('\n', stdout);
        fputs(section_end, stdout);
    }

    return ferror(stdin) || fflush(stdout) != 0;
}


static bool
machine_find(const char *line, const machine_t **ret)
{
    size_t  i;

    for (i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        if (strcmp(line, machines[i].begin) == 0) {
            *ret = &machines[i];
            return true;
        }
    }

    return false;
}


/* Reads up to the end of the section. */
static int
section_skip(char *line)
{
    while (fgets(line, LINE_MAX_BYTES, stdin) != NULL) {
        if (strcmp(line, section_end) == 0) {
            return 0;
        }
    }

    return -1;
}


static void
lid_print(void)
{
    int  from;

    printf("```mermaid\nstateDiagram-v2\n    [*] --> %s\n",
           lid_states[COCO_LID_IDLE]);

    for (from = 0; from < COCO_LID_STATES; from++) {
        lid_arrows_print(from);
    }

    printf("```\n\n");
    lid_table_print();
}


/* One arrow for all events that do the same. */
static void
lid_arrows_print(int from)
{
    int                           event, other;
    const coco_lid_transition_t  *way, *row = coco_lid_transitions[from];

    for (event = 0; event < COCO_LID_EVENTS; event++) {
        way = &row[event];

        for (other = 0; other < event; other++) {
            if (row[other].next == way->next
                && row[other].action == way->action)
            {
                break;
            }
        }

        if (other < event || !lid_drawn(from, way)) {
            continue;
        }

        printf("    %s --> %s: %s", lid_states[from], lid_states[way->next],
               lid_events[event]);

        for (other = event + 1; other < COCO_LID_EVENTS; other++) {
            if (row[other].next == way->next
                && row[other].action == way->action)
            {
                printf(", %s", lid_events[other]);
            }
        }

        printf("\n");
    }
}


/* What neither leads anywhere nor touches a cycle is in the table only. */
static bool
lid_drawn(int from, const coco_lid_transition_t *way)
{
    return (int) way->next != from || way->action == COCO_LID_DO_JOIN;
}


static void
lid_table_print(void)
{
    int                           event, from;
    const coco_lid_transition_t  *way;

    printf("| event |");

    for (from = 0; from < COCO_LID_STATES; from++) {
        printf(" %s |", lid_states[from]);
    }

    printf("\n| --- | --- | --- | --- | --- |\n");

    for (event = 0; event < COCO_LID_EVENTS; event++) {
        printf("| %s |", lid_events[event]);

        for (from = 0; from < COCO_LID_STATES; from++) {
            way = &coco_lid_transitions[from][event];

            if ((int) way->next != from) {
                printf(" **%s**", lid_states[way->next]);
            }

            if (way->action != COCO_LID_DO_NOTHING) {
                printf(" %s", coco_lid_action_text(way->action));
            }

            printf(" |");
        }

        printf("\n");
    }
}


static void
delivery_print(void)
{
    int  from, event, next;

    printf("```mermaid\nstateDiagram-v2\n    [*] --> ");
    status_print(COCO_DELIVERY_CREATED);
    printf("\n");

    for (from = COCO_DELIVERY_CREATED; from < COCO_DELIVERY_STATUSES; from++) {
        for (event = 0; event < COCO_DELIVERY_EVENTS; event++) {
            next = coco_delivery_transitions[from][event];

            if (next != COCO_DELIVERY_NONE) {
                printf("    ");
                status_print(from);
                printf(" --> ");
                status_print(next);
                printf(": %s\n", coco_delivery_event_text(event));
            }
        }

        if (coco_delivery_final(from)) {
            printf("    ");
            status_print(from);
            printf(" --> [*]\n");
        }
    }

    printf("```\n\n");
    delivery_table_print();
}


static void
delivery_table_print(void)
{
    int  from, event, next;

    printf("| status |");

    for (event = 0; event < COCO_DELIVERY_EVENTS; event++) {
        printf(" %s |", coco_delivery_event_text(event));
    }

    printf("\n| --- |");

    for (event = 0; event < COCO_DELIVERY_EVENTS; event++) {
        printf(" --- |");
    }

    printf("\n");

    for (from = COCO_DELIVERY_CREATED; from < COCO_DELIVERY_STATUSES; from++) {
        printf("| ");
        status_print(from);
        printf(" |");

        for (event = 0; event < COCO_DELIVERY_EVENTS; event++) {
            next = coco_delivery_transitions[from][event];
            printf(" ");

            if (next != COCO_DELIVERY_NONE) {
                status_print(next);
                printf(" ");
            }

            printf("|");
        }

        printf("\n");
    }
}


static void
status_print(int status)
{
    name_print(coco_delivery_status_name(status));
}


static void
mds_print(void)
{
    int  from, to;

    printf("```mermaid\nstateDiagram-v2\n    [*] --> ");
    name_print(coco_mds_state_name(COCO_MDS_REMOVED));
    printf("\n");

    for (from = 0; from < COCO_MDS_STATES; from++) {
        for (to = 0; to < COCO_MDS_STATES; to++) {
            mds_arrow_print(from, to);
        }
    }

    printf("```\n\n");
    mds_table_print();
}


/* One arrow for all events that lead there. */
static void
mds_arrow_print(int from, int to)
{
    int          event;
    const char  *comma = NULL;

    for (event = 0; event < COCO_MDS_EVENTS; event++) {

        if (!coco_mds_allowed(from, event, to)) {
            continue;
        }

        if (comma == NULL) {
            printf("    ");
            name_print(coco_mds_state_name(from));
            printf(" --> ");
            name_print(coco_mds_state_name(to));
            comma = ": ";
        }

        printf("%s", comma);
        name_print(coco_mds_event_name(event));
        comma = ", ";
    }

    if (comma != NULL) {
        printf("\n");
    }
}


static void
mds_table_print(void)
{
    int  event, state;

    printf("| event |");

    for (state = 0; state < COCO_MDS_STATES; state++) {
        printf(" ");
        name_print(coco_mds_state_name(state));
        printf(" |");
    }

    printf("\n| --- |");

    for (state = 0; state < COCO_MDS_STATES; state++) {
        printf(" --- |");
    }

    for (event = 0; event < COCO_MDS_EVENTS; event++) {
        printf("\n| ");
        name_print(coco_mds_event_name(event));
        printf(" |");

        for (state = 0; state < COCO_MDS_STATES; state++) {
            mds_cell_print(state, event);
            printf(" |");
        }
    }

    printf("\n");
}


static void
mds_cell_print(int from, int event)
{
    int          to;
    const char  *comma = " ";

    for (to = 0; to < COCO_MDS_STATES; to++) {
        if (coco_mds_allowed(from, event, to)) {
            printf("%s", comma);
            name_print(coco_mds_state_name(to));
            comma = ", ";
        }
    }
}


static void
name_print(coco_str_t name)
{
    printf("%.*s", (int) name.len, name.data);
}
