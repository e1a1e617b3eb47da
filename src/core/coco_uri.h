/*
 * A request's target (path and query) as it came, before anything is decoded.
 */

#ifndef COCO_URI_H
#define COCO_URI_H

#include "coco_core.h"

/*
 * Whether its path has a segment "." or "..", which whoever resolves it would
 * follow to another resource. The dots and what is around them may be encoded,
 * once; segments also end where some servers let them end: at '\', ';', '#'
 * and NUL.
 */
bool coco_uri_dotted(coco_str_t target);

#endif /* COCO_URI_H */
