/*
 * As much XML as the answers of AWS's query services (STS) need.
 */

#ifndef COCO_AWS_XML_H
#define COCO_AWS_XML_H

#include "coco_core.h"

/*
 * Copies the text of the first element `name` whose parent is `parent`, its
 * five named entities undone, NUL-terminated. COCO_ERROR: there is none, it
 * holds more than text, the document is broken before it, has a DOCTYPE or
 * nests over 16 deep. COCO_AGAIN: ret is too small.
 */
int coco_aws_xml_text(coco_str_t document, const char *parent,
    const char *name, char *ret, size_t size);

#endif /* COCO_AWS_XML_H */
