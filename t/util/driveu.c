/*
 * What the core makes of DriveU's statuses, for the suite that compares it
 * with the database. A line in is "serial time_us streamer node relay", "-"
 * for a unit that was never heard; a line out "serial|t or f|document".
 * Must decide nothing itself.
 */

#include <inttypes.h>
#include <stdio.h>

#include "coco_connectivity.h"


int
main(void)
{
    int                  unit;
    bool                 controllable;
    char                 serial[65], words[COCO_UNITS][65], text[2048];
    int64_t              time_us;
    coco_driveu_t        driveu;
    coco_json_out_t      out;
    coco_connectivity_t  c;

    while (scanf("%64s %" SCNd64 " %64s %64s %64s", serial, &time_us,
                 words[COCO_UNIT_STREAMER], words[COCO_UNIT_NODE],
                 words[COCO_UNIT_RELAY])
           == 5)
    {
        memset(&driveu, 0, sizeof(driveu));
        coco_json_out_init(&out, text, sizeof(text));

        for (unit = 0; unit < COCO_UNITS; unit++) {

            if (strcmp(words[unit], "-") == 0) {
                continue;
            }

            memset(&c, 0, sizeof(c));
            c.unit = unit;
            c.status = (coco_str_t) { words[unit], strlen(words[unit]) };
            c.uuid = (coco_str_t) { "u", 1 };
            c.time_us = time_us;
            c.received_at = time_us / 1000;

            if (!coco_driveu_apply(&driveu, &c)) {
                return 1;
            }
        }

        controllable = coco_remotely_controllable(&driveu);
        coco_driveu_encode(&out, &driveu);

        if (!coco_json_out_ok(&out)) {
            return 1;
        }

        printf("%s|%c|%.*s\n", serial, controllable ? 't' : 'f',
               (int) out.len, text);
    }

    return 0;
}
