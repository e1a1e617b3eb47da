/*
 * The reader of partners' webhooks. libFuzzer calls this with its texts.
 */

#include "targets.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    coco_str_t  text = fuzz_text_copy(data, size);

    fuzz_order(text);
    free((char *) text.data);

    return 0;
}
