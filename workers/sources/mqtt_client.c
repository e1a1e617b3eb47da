/*
 * paho's MQTTAsync behind a few calls. Must never refuse a message: paho
 * acknowledges it whatever its callback returns.
 */

#include <MQTTAsync.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "mqtt_client.h"


struct coco_mqtt_client_s {
    const coco_config_t   *config;
    coco_mqtt_handlers_t   handlers;
    MQTTAsync              client;
    unsigned char          alpn[256];     /* length, then the name */
};


static int coco_mqtt_arrived(void *context, char *topic, int topic_len,
    MQTTAsync_message *message);
static void coco_mqtt_lost(void *context, char *cause);
static void coco_mqtt_disconnected(void *context, MQTTProperties *properties,
    enum MQTTReasonCodes reason);
static void coco_mqtt_failed(coco_mqtt_client_t *c, int code,
    const char *message);
static void coco_mqtt_report(coco_mqtt_client_t *c, coco_mqtt_event_e event,
    int value);
static int coco_mqtt_connect_do(coco_mqtt_client_t *c,
    MQTTAsync_connectOptions *o);
static void coco_mqtt_tls_fill(coco_mqtt_client_t *c,
    MQTTAsync_SSLOptions *o);
static int coco_mqtt_tls_error(const char *text, size_t len, void *context);
static int coco_mqtt_begun(int rc, const char **ret_text);


coco_mqtt_client_t *
coco_mqtt_client_create(const coco_config_t *config, const char *client_id,
    const coco_mqtt_handlers_t *handlers)
{
    int                      rc;
    char                     uri[320];
    coco_mqtt_client_t      *c;
    MQTTAsync_createOptions  options5 = MQTTAsync_createOptions_initializer5;
    MQTTAsync_createOptions  options3 = MQTTAsync_createOptions_initializer;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return NULL;
    }

    c->config = config;
    c->handlers = *handlers;
    options3.MQTTVersion = MQTTVERSION_3_1_1;

    snprintf(uri, sizeof(uri),
             strchr(config->mqtt_host, ':') ? "%s://[%s]:%d" : "%s://%s:%d",
             config->mqtt_tls ? "ssl" : "tcp", config->mqtt_host,
             (int) config->mqtt_port);

    rc = MQTTAsync_createWithOptions(&c->client, uri, client_id,
                                     MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                     config->mqtt_version == COCO_MQTT_5
                                     ? &options5 : &options3);
    if (rc != MQTTASYNC_SUCCESS) {
        free(c);
        return NULL;
    }

    MQTTAsync_setCallbacks(c->client, c, coco_mqtt_lost, coco_mqtt_arrived,
                           NULL);
    MQTTAsync_setDisconnected(c->client, c, coco_mqtt_disconnected);

    return c;
}


static int
coco_mqtt_arrived(void *context, char *topic, int topic_len,
    MQTTAsync_message *message)
{
    coco_str_t           name, payload;
    coco_mqtt_client_t  *c;

    c = context;

    /* a length is given only when the topic holds a NUL */
    name.data = topic;
    name.len = topic_len > 0 ? (size_t) topic_len : strlen(topic);
    payload.data = message->payload;
    payload.len = (size_t) message->payloadlen;

    c->handlers.message(c->handlers.data, name, payload);

    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);

    return 1;
}


static void
coco_mqtt_lost(void *context, char *cause)
{
    coco_mqtt_client_t  *c;

    c = context;
    c->handlers.event(c->handlers.data, COCO_MQTT_LOST, 0,
                      cause ? cause : "the connection ended");
}


/* A DISCONNECT of the broker's; no connection lost is reported after it. */
static void
coco_mqtt_disconnected(void *context, MQTTProperties *properties,
    enum MQTTReasonCodes reason)
{
    const char          *text;
    coco_mqtt_client_t  *c;

    c = context;
    text = reason == MQTTREASONCODE_SESSION_TAKEN_OVER
           ? "another client has the same mqtt.client_id; give each worker "
             "its own"
           : MQTTReasonCode_toString(reason);

    c->handlers.event(c->handlers.data, COCO_MQTT_LOST, (int) reason,
                      text ? text : "the broker disconnected");
}


static void
coco_mqtt_report(coco_mqtt_client_t *c, coco_mqtt_event_e event, int value)
{
    c->handlers.event(c->handlers.data, event, value, "");
}


static void
coco_mqtt_on_connect(void *context, MQTTAsync_successData *data)
{
    coco_mqtt_report(context, COCO_MQTT_CONNECTED,
                     data->alt.connect.sessionPresent);
}


static void
coco_mqtt_on_connect5(void *context, MQTTAsync_successData5 *data)
{
    coco_mqtt_report(context, COCO_MQTT_CONNECTED,
                     data->alt.connect.sessionPresent);
}


/* code: a CONNACK return code of MQTT 3.1.1 (1 to 5), a reason code of MQTT 5
 * (0x80 and above), or an error of the client's own (negative). A broker that
 * does not know MQTT 5 refuses it with a code of 3.1.1. */
static void
coco_mqtt_failed(coco_mqtt_client_t *c, int code, const char *message)
{
    const char  *text;

    static const char  *refusals[] = {
        NULL,
        "the broker does not speak this version; change mqtt.version",
        "the broker refuses mqtt.client_id",
        "the broker is unavailable",
        "bad mqtt.username or password",
        "not authorized",
    };

    text = code > 0 && code < 6 ? refusals[code]
           : code == MQTTREASONCODE_UNSUPPORTED_PROTOCOL_VERSION ? refusals[1]
           : code >= MQTTREASONCODE_UNSPECIFIED_ERROR
             ? MQTTReasonCode_toString((enum MQTTReasonCodes) code)
           : message ? message
           : code < 0 ? MQTTAsync_strerror(code) : NULL;

    c->handlers.event(c->handlers.data, COCO_MQTT_FAILED, code,
                      text ? text : "the broker refused or did not answer");
}


static void
coco_mqtt_on_failure(void *context, MQTTAsync_failureData *data)
{
    coco_mqtt_failed(context, data ? data->code : 0,
                     data ? data->message : NULL);
}


static void
coco_mqtt_on_failure5(void *context, MQTTAsync_failureData5 *data)
{
    if (data == NULL) {
        coco_mqtt_failed(context, 0, NULL);
        return;
    }

    coco_mqtt_failed(context, data->reasonCode != MQTTREASONCODE_SUCCESS
                              ? (int) data->reasonCode : data->code,
                     data->message);
}


/* With QoS 0 nothing is acknowledged, so nothing is safe. */
static void
coco_mqtt_granted(coco_mqtt_client_t *c, int qos)
{
    if (qos == 1) {
        coco_mqtt_report(c, COCO_MQTT_SUBSCRIBED, qos);
        return;
    }

    c->handlers.event(c->handlers.data, COCO_MQTT_FAILED, qos,
                      "the broker does not grant QoS 1 for the filter; allow "
                      "this client to subscribe to it");
}


static void
coco_mqtt_on_subscribe(void *context, MQTTAsync_successData *data)
{
    coco_mqtt_granted(context, data->alt.qos);
}


static void
coco_mqtt_on_subscribe5(void *context, MQTTAsync_successData5 *data)
{
    coco_mqtt_granted(context, (int) data->reasonCode);
}


static void
coco_mqtt_on_unsubscribe(void *context, MQTTAsync_successData *data)
{
    coco_mqtt_report(context, COCO_MQTT_UNSUBSCRIBED, 0);
}


static void
coco_mqtt_on_unsubscribe5(void *context, MQTTAsync_successData5 *data)
{
    coco_mqtt_report(context, COCO_MQTT_UNSUBSCRIBED, 0);
}


static void
coco_mqtt_on_leave(void *context, MQTTAsync_successData *data)
{
    coco_mqtt_report(context, COCO_MQTT_LEFT, 0);
}


static void
coco_mqtt_on_leave5(void *context, MQTTAsync_successData5 *data)
{
    coco_mqtt_report(context, COCO_MQTT_LEFT, 0);
}


int
coco_mqtt_connect(coco_mqtt_client_t *c, const char **ret_text)
{
    int                       rc, i;
    MQTTProperty              property;
    MQTTProperties            properties = MQTTProperties_initializer;
    MQTTAsync_connectOptions  o3 = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions  o5 = MQTTAsync_connectOptions_initializer5;

    if (c->config->mqtt_version == COCO_MQTT_3_1_1) {
        o3.MQTTVersion = MQTTVERSION_3_1_1;
        o3.cleansession = 0;
        o3.onSuccess = coco_mqtt_on_connect;
        o3.onFailure = coco_mqtt_on_failure;
        rc = coco_mqtt_connect_do(c, &o3);

        return coco_mqtt_begun(rc, ret_text);
    }

    property.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL;
    property.value.integer4 = (unsigned) c->config->mqtt_session_expiry;
    i = MQTTProperties_add(&properties, &property);

    property.identifier = MQTTPROPERTY_CODE_RECEIVE_MAXIMUM;
    property.value.integer2 = (unsigned short) c->config->mqtt_receive_maximum;
    i |= MQTTProperties_add(&properties, &property);

    o5.cleanstart = 0;
    o5.connectProperties = &properties;
    o5.onSuccess5 = coco_mqtt_on_connect5;
    o5.onFailure5 = coco_mqtt_on_failure5;
    rc = i == 0 ? coco_mqtt_connect_do(c, &o5) : MQTTASYNC_FAILURE;

    MQTTProperties_free(&properties);

    return coco_mqtt_begun(rc, ret_text);
}


static int
coco_mqtt_connect_do(coco_mqtt_client_t *c, MQTTAsync_connectOptions *o)
{
    MQTTAsync_SSLOptions  tls = MQTTAsync_SSLOptions_initializer;

    o->context = c;
    o->automaticReconnect = 0;
    o->keepAliveInterval = (int) ((c->config->mqtt_keep_alive + 999) / 1000);
    o->connectTimeout = (int) ((c->config->mqtt_connect_timeout + 999) / 1000);
    o->username = c->config->mqtt_username;
    o->password = c->config->mqtt_password;

    if (c->config->mqtt_tls) {
        coco_mqtt_tls_fill(c, &tls);
        o->ssl = &tls;
    }

    return MQTTAsync_connect(c->client, o);
}


/* The server's certificate and its name are always verified. */
static void
coco_mqtt_tls_fill(coco_mqtt_client_t *c, MQTTAsync_SSLOptions *o)
{
    size_t  len;

    o->trustStore = c->config->mqtt_tls_ca_file;
    o->disableDefaultTrustStore = o->trustStore != NULL;
    o->keyStore = c->config->mqtt_tls_cert_file;
    o->privateKey = c->config->mqtt_tls_key_file;
    o->enableServerCertAuth = 1;
    o->verify = 1;
    o->ssl_error_cb = coco_mqtt_tls_error;

    if (c->config->mqtt_tls_alpn != NULL) {
        len = strlen(c->config->mqtt_tls_alpn);
        c->alpn[0] = (unsigned char) len;
        memcpy(c->alpn + 1, c->config->mqtt_tls_alpn, len);
        o->protos = c->alpn;
        o->protos_len = (unsigned) len + 1;
    }
}


static int
coco_mqtt_tls_error(const char *text, size_t len, void *context)
{
    coco_log(COCO_LOG_WARN, "mqtt_tls", "error", "%.*s",
             (int) (len > 0 && text[len - 1] == '\n' ? len - 1 : len), text,
             NULL);

    return 1;
}


static void
coco_mqtt_call_init(coco_mqtt_client_t *c, MQTTAsync_callOptions *call,
    MQTTAsync_onSuccess *success, MQTTAsync_onSuccess5 *success5)
{
    call->context = c;

    if (c->config->mqtt_version == COCO_MQTT_5) {
        call->onSuccess5 = success5;
        call->onFailure5 = coco_mqtt_on_failure5;

    } else {
        call->onSuccess = success;
        call->onFailure = coco_mqtt_on_failure;
    }
}


int
coco_mqtt_subscribe(coco_mqtt_client_t *c, const char *filter,
    const char **ret_text)
{
    MQTTAsync_callOptions  call = MQTTAsync_callOptions_initializer;

    coco_mqtt_call_init(c, &call, coco_mqtt_on_subscribe,
                        coco_mqtt_on_subscribe5);

    return coco_mqtt_begun(MQTTAsync_subscribe(c->client, filter, 1, &call),
                           ret_text);
}


int
coco_mqtt_unsubscribe(coco_mqtt_client_t *c, const char *filter,
    const char **ret_text)
{
    MQTTAsync_callOptions  call = MQTTAsync_callOptions_initializer;

    coco_mqtt_call_init(c, &call, coco_mqtt_on_unsubscribe,
                        coco_mqtt_on_unsubscribe5);

    return coco_mqtt_begun(MQTTAsync_unsubscribe(c->client, filter, &call),
                           ret_text);
}


int
coco_mqtt_leave(coco_mqtt_client_t *c, const char **ret_text)
{
    MQTTAsync_disconnectOptions  o3 = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnectOptions  o5 = MQTTAsync_disconnectOptions_initializer5;

    o3.context = o5.context = c;
    o3.onSuccess = coco_mqtt_on_leave;
    o3.onFailure = coco_mqtt_on_failure;
    o5.onSuccess5 = coco_mqtt_on_leave5;
    o5.onFailure5 = coco_mqtt_on_failure5;

    return coco_mqtt_begun(MQTTAsync_disconnect(c->client,
                               c->config->mqtt_version == COCO_MQTT_5
                               ? &o5 : &o3), ret_text);
}


static int
coco_mqtt_begun(int rc, const char **ret_text)
{
    if (rc == MQTTASYNC_SUCCESS) {
        return COCO_OK;
    }

    *ret_text = MQTTAsync_strerror(rc);
    if (*ret_text == NULL) {
        *ret_text = "the MQTT client failed";
    }

    return COCO_ERROR;
}


void
coco_mqtt_client_destroy(coco_mqtt_client_t *c)
{
    MQTTAsync_destroy(&c->client);
    free(c);
}
