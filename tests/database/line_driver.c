/*
 * Reads lines of the supply, and says of each what the core understands: its
 * fields, and the line that the core makes of them.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coco_id.h"
#include "coco_supply.h"


static void
fields_print(const coco_supply_state_t *s)
{
    char        id[COCO_ID_TEXT_LEN];
    coco_str_t  state = coco_state_name(s->business.operation_state);

    coco_id_format(id, &s->telemetry.order.id);

    printf("%u %" PRId32 " %" PRId32 " %.9g %" PRId64 " %" PRId64 " %.*s %d"
           " %" PRId64 " %.*s %d,%d,%d,%d,%d,%d %" PRId64 " %" PRIu32
           " %" PRId64 " %" PRId64 " %d\n",
           s->parts, s->telemetry.latitude_e7, s->telemetry.longitude_e7,
           (double) s->telemetry.battery_percent,
           s->telemetry.order.order_ms, s->telemetry.order.ts,
           COCO_ID_TEXT_LEN, id, s->telemetry.healthy,
           s->business.changed_at, (int) state.len, state.data,
           s->business.undergoing_maintenance, s->business.needs_maintenance,
           s->business.needs_pickup, s->business.has_food,
           s->business.driveable, s->business.needs_movement,
           s->demand.version, s->demand.demands, s->demand.held_until,
           s->lid.at, s->lid.open);
}


int
main(void)
{
    char                 text[COCO_SUPPLY_LINE_MAX * 2];
    char                 line[COCO_SUPPLY_LINE_MAX];
    coco_str_t           in, serial;
    coco_error_t         err;
    coco_supply_state_t  state;

    while (fgets(text, sizeof(text), stdin) != NULL) {
        in.data = text;
        in.len = strcspn(text, "\n");

        if (coco_supply_line_decode(in, &serial, &state, &err) != COCO_OK) {
            printf("refused: %.*s", (int) in.len + 1, text);
            continue;
        }

        printf("%.*s\n", (int) coco_supply_line_encode(line, serial, &state),
               line);
        fields_print(&state);
    }

    return 0;
}
