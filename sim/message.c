/*
 * Reads commands and shadows. Must never take a text that would need escapes
 * in an event.
 */

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include <jansson.h>

#include "message.h"

static int sim_message_command(sim_command_t *ret, json_t *message);
static bool sim_message_plain(const char *text, size_t max,
    int (*allowed)(int));
static int sim_message_printable(int c);


int
sim_command_decode(sim_command_t *ret, const char *payload, size_t len)
{
    int      rc;
    json_t  *message;

    message = json_loadb(payload, len, JSON_REJECT_DUPLICATES, NULL);
    rc = sim_message_command(ret, message);
    json_decref(message);

    return rc;
}


static int
sim_message_command(sim_command_t *ret, json_t *message)
{
    json_t         *expires;
    const char     *id, *word;
    sim_command_e   command;

    id = json_string_value(json_object_get(message, "id"));
    word = json_string_value(json_object_get(message, "command"));
    expires = json_object_get(message, "expiresAt");

    if (!sim_message_plain(id, SIM_COMMAND_ID_MAX, sim_message_printable)
        || word == NULL || !json_is_integer(expires))
    {
        return -1;
    }

    if (strcmp(word, "OPEN_LID") == 0) {
        command = SIM_COMMAND_OPEN;

    } else if (strcmp(word, "CLOSE_LID") == 0) {
        command = SIM_COMMAND_CLOSE;

    } else {
        return -1;
    }

    *ret = (sim_command_t) {
        .command = command, .expires_at = json_integer_value(expires)
    };
    strcpy(ret->id, id);

    return 0;
}


int
sim_shadow_decode(char ret_pin[SIM_PIN_MAX + 1], const char *payload,
    size_t len)
{
    int      rc;
    json_t  *message, *pin;

    rc = -1;
    message = json_loadb(payload, len, JSON_REJECT_DUPLICATES, NULL);
    pin = json_object_get(json_object_get(json_object_get(message, "state"),
                                          "desired"), "pin");

    if (json_is_null(pin)) {
        ret_pin[0] = '\0';
        rc = 0;

    } else if (sim_message_plain(json_string_value(pin), SIM_PIN_MAX,
                                 isdigit))
    {
        strcpy(ret_pin, json_string_value(pin));
        rc = 0;
    }

    json_decref(message);

    return rc;
}


static bool
sim_message_plain(const char *text, size_t max, int (*allowed)(int))
{
    size_t  i;

    if (text == NULL || text[0] == '\0') {
        return false;
    }

    for (i = 0; text[i] != '\0'; i++) {
        if (i == max || !allowed((unsigned char) text[i])) {
            return false;
        }
    }

    return true;
}


static int
sim_message_printable(int c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\';
}
