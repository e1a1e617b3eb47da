/*
 * Reads values out of binary results. Must never be given a column of another
 * type.
 */

#include <endian.h>

#include "postgres.h"


coco_str_t
coco_pg_get(const PGresult *res, int row, int column)
{
    if (PQgetisnull(res, row, column)) {
        return (coco_str_t) { NULL, 0 };
    }

    return (coco_str_t) { PQgetvalue(res, row, column),
                          (size_t) PQgetlength(res, row, column) };
}


int64_t
coco_pg_get_int64(const PGresult *res, int row, int column)
{
    uint64_t  be;

    memcpy(&be, PQgetvalue(res, row, column), sizeof(be));

    return (int64_t) be64toh(be);
}


int64_t
coco_pg_get_time(const PGresult *res, int row, int column)
{
    int64_t  us;

    if (PQgetisnull(res, row, column)) {
        return COCO_PG_NEVER;
    }

    us = coco_pg_get_int64(res, row, column);
    if (us == INT64_MIN) {
        return COCO_PG_NEVER;
    }

    /* microseconds that a PATCH may have written are cut, not rounded */
    return us / 1000 + COCO_PG_EPOCH_MS;
}


int64_t
coco_pg_get_time_us(const PGresult *res, int row, int column)
{
    return coco_pg_get_int64(res, row, column) + COCO_PG_EPOCH_MS * 1000;
}


void
coco_pg_get_uuid(coco_id_t *ret, const PGresult *res, int row, int column)
{
    if (PQgetisnull(res, row, column)) {
        memset(ret, 0, sizeof(*ret));
        return;
    }

    memcpy(ret->bytes, PQgetvalue(res, row, column), sizeof(ret->bytes));
}


int
coco_pg_get_bool(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column) ? -1
                                         : *PQgetvalue(res, row, column) != 0;
}


double
coco_pg_get_float(const PGresult *res, int row, int column)
{
    double    value;
    uint64_t  bits;

    bits = (uint64_t) coco_pg_get_int64(res, row, column);
    memcpy(&value, &bits, sizeof(value));

    return value;
}
