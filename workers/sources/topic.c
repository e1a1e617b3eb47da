/*
 * Takes the serial out of a topic. Pure.
 */

#include "topic.h"


coco_str_t
coco_topic_serial(const char *filter, coco_str_t topic)
{
    size_t      before, after;
    coco_str_t  serial;

    before = strcspn(filter, "+");
    after = strlen(filter) - before - 1;

    serial.data = "";
    serial.len = 0;

    if (topic.len < before + after
        || memcmp(topic.data, filter, before) != 0
        || memcmp(topic.data + topic.len - after, filter + before + 1, after)
           != 0
        || memchr(topic.data + before, '/', topic.len - before - after))
    {
        return serial;
    }

    if (topic.len > before + after) {
        serial.data = topic.data + before;
        serial.len = topic.len - before - after;
    }

    return serial;
}
