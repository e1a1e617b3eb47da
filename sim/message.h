/*
 * What robots are sent: commands, and the shadow. Pure.
 */

#ifndef COCO_SIM_MESSAGE_H
#define COCO_SIM_MESSAGE_H

#include <stddef.h>

#include "lid.h"

/* {"id","command","expiresAt", ...}. -1: not one that a robot can act on. */
int sim_command_decode(sim_command_t *ret, const char *payload, size_t len);

/* {"state":{"desired":{"pin":"1234"|null}}}; ret_pin becomes "" for null. -1:
 * says nothing about a PIN, or not what a keypad can take. */
int sim_shadow_decode(char ret_pin[SIM_PIN_MAX + 1], const char *payload,
    size_t len);

#endif /* COCO_SIM_MESSAGE_H */
