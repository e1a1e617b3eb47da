/*
 * What can be said of a request's target without changing it. Must see every
 * way in which a dot or a slash may be written.
 */

#include <string.h>

#include "coco_uri.h"


static int uri_char(coco_str_t target, size_t *i);


bool
coco_uri_dotted(coco_str_t target)
{
    int     c;
    bool    end;
    size_t  i, len, dots;

    i = 0;
    len = 0;
    dots = 0;

    for ( ;; ) {
        end = i == target.len || target.data[i] == '?';
        c = end ? '/' : uri_char(target, &i);

        if (strchr("/\\;#", c) == NULL) {
            len++;
            dots += c == '.';
            continue;
        }

        if (len == dots && (len == 1 || len == 2)) {
            return true;
        }

        if (end) {
            return false;
        }

        len = 0;
        dots = 0;
    }
}


/* The one at *i, decoded, as 0 to 255; *i is then behind it. */

static int
uri_char(coco_str_t target, size_t *i)
{
    int  high, low;

    if (target.data[*i] == '%' && target.len - *i > 2) {
        high = coco_hex_digit(target.data[*i + 1]);
        low = coco_hex_digit(target.data[*i + 2]);

        if (high >= 0 && low >= 0) {
            *i += 3;
            return high << 4 | low;
        }
    }

    return (unsigned char) target.data[(*i)++];
}
