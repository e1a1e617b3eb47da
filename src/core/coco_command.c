/*
 * The wire forms of what is sent to robots. Must never be logged: a shadow
 * holds a PIN.
 */

#include "coco_command.h"


void
coco_command_encode(coco_json_out_t *out, const coco_command_t *command)
{
    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_id(out, &command->id);
    coco_json_name(out, "command");
    coco_json_string(out, command->command);

    if (command->reference.data != NULL) {
        coco_json_name(out, "referenceId");
        coco_json_string(out, command->reference);
    }

    if (command->source.data != NULL) {
        coco_json_name(out, "source");
        coco_json_string(out, command->source);
    }

    coco_json_name(out, "issuedAt");
    coco_json_int(out, command->issued_at);
    coco_json_name(out, "expiresAt");
    coco_json_int(out, command->expires_at);
    coco_json_object_close(out);
}


void
coco_shadow_encode(coco_json_out_t *out, coco_str_t pin)
{
    coco_json_object_open(out);
    coco_json_name(out, "state");
    coco_json_object_open(out);
    coco_json_name(out, "desired");
    coco_json_object_open(out);
    coco_json_name(out, "pin");
    coco_json_string(out, pin);
    coco_json_object_close(out);
    coco_json_object_close(out);
    coco_json_object_close(out);
}
