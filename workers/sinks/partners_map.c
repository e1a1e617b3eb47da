/*
 * Loads partners.map. Must never be content with a file that is not whole.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sinks/partners.h"

#define COCO_PARTNERS_MAP_MAX  (256 * 1024)


int
coco_partners_map_load(coco_partner_map_t ret[COCO_PARTNERS], char **ret_text,
    const char *path, char *error, size_t error_size)
{
    char          *text;
    FILE          *file;
    size_t         len;
    coco_error_t   err;

    file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, error_size, "%s cannot be read: %s", path,
                 strerror(errno));
        return COCO_ERROR;
    }

    text = malloc(COCO_PARTNERS_MAP_MAX + 1);
    len = text ? fread(text, 1, COCO_PARTNERS_MAP_MAX + 1, file) : 0;

    if (text == NULL || ferror(file) || len > COCO_PARTNERS_MAP_MAX) {
        snprintf(error, error_size, "%s cannot be read, or is larger than "
                 "%d KiB", path, COCO_PARTNERS_MAP_MAX / 1024);
        fclose(file);
        free(text);
        return COCO_ERROR;
    }

    fclose(file);

    if (coco_partner_map_read(ret, (coco_str_t) { text, len }, &err)
        != COCO_OK)
    {
        snprintf(error, error_size, "%s: %s%s%s", path, err.field,
                 err.field[0] != '\0' ? ": " : "", err.reason);
        free(text);
        return COCO_ERROR;
    }

    *ret_text = text;

    return COCO_OK;
}
