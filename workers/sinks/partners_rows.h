/*
 * The statements of the sender, and what they bring.
 */

#ifndef COCO_PARTNERS_ROWS_H
#define COCO_PARTNERS_ROWS_H

#include "coco_partner_map.h"
#include "sinks/postgres.h"

enum {
    COCO_P_LOCK = 0, COCO_P_TAKE_OVER, COCO_P_FINISH, COCO_P_CLAIM,
    COCO_P_STORE, COCO_P_POSITIONS, COCO_P_SKIP,
    COCO_P_STATEMENTS
};

/* Columns of a push that is claimed, CLAIM's and POSITIONS'. */
enum {
    COCO_P_ID = 0, COCO_P_DELIVERY, COCO_P_STATUS, COCO_P_SERIAL,
    COCO_P_REASON, COCO_P_TS, COCO_P_BODY, COCO_P_ATTEMPTED, COCO_P_AT,
    COCO_P_EXTERNAL, COCO_P_STORE_NAME, COCO_P_VEHICLE, COCO_P_LATITUDE,
    COCO_P_LONGITUDE, COCO_P_LOCATED_AT, COCO_P_BATTERY
};

extern const coco_pg_statement_t  coco_partners_statements[COCO_P_STATEMENTS];

/* Its strings are the result's. */
void coco_partners_push_read(coco_partner_push_t *ret, const PGresult *res,
    int row);

#endif /* COCO_PARTNERS_ROWS_H */
