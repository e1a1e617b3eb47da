/*
 * The memory of MDS' emitter and its facts. libFuzzer calls this with texts of
 * its making.
 */

#include "targets.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    coco_str_t  text = fuzz_text_copy(data, size);

    fuzz_mds(text);
    free((char *) text.data);

    return 0;
}
