/*
 * Environment, web identity, container and IMDSv2. Must never put a secret
 * into an error text, or send a token to a host that may not have it.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/crypto.h>

#include "aws_http.h"
#include "aws_providers.h"
#include "aws_xml.h"
#include "coco_message.h"

#define COCO_AWS_REPLY_MAX      (256 * 1024)
#define COCO_AWS_TOKEN_MAX      (64 * 1024)     /* of a token's file */
#define COCO_AWS_URL_MAX        2048

#define COCO_AWS_STS_MS         10000
#define COCO_AWS_CONTAINER_MS   2000
#define COCO_AWS_IMDS_MS        1000

#define COCO_AWS_CONTAINER_URL  "http://169.254.170.2"
#define COCO_AWS_IMDS_URL       "http://169.254.169.254"
#define COCO_AWS_IMDS_PATH      "latest/meta-data/iam/security-credentials/"


static int coco_aws_environment_fetch(coco_aws_secret_t *ret,
    const char *region, coco_stop_t *stop, char *error, size_t error_size);
static int coco_aws_identity_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size);
static char *coco_aws_identity_form(const char *token);
static int coco_aws_identity_read(coco_aws_secret_t *ret, long status,
    coco_str_t text, char *error, size_t error_size);
static int coco_aws_container_fetch(coco_aws_secret_t *ret,
    const char *region, coco_stop_t *stop, char *error, size_t error_size);
static int coco_aws_container_url(char *ret, size_t size, char *error,
    size_t error_size);
static bool coco_aws_container_allowed(const char *url);
static int coco_aws_container_header(char **ret, char *error,
    size_t error_size);
static int coco_aws_imds_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size);
static int coco_aws_imds_get(coco_aws_reply_t *reply, const char *method,
    const char *path, const char *header, coco_stop_t *stop, char *error,
    size_t error_size);
static int coco_aws_secret_read(coco_aws_secret_t *ret, coco_str_t text,
    char *error, size_t error_size);
static int coco_aws_secret_field(char *ret, size_t size,
    const coco_json_value_t *value);
static char *coco_aws_file_read(const char *path, char *error,
    size_t error_size);
static const char *coco_aws_getenv(const char *name);


static const coco_aws_provider_t  coco_aws_environment = {
    "environment", coco_aws_environment_fetch
};
static const coco_aws_provider_t  coco_aws_identity = {
    "web identity", coco_aws_identity_fetch
};
static const coco_aws_provider_t  coco_aws_container = {
    "container", coco_aws_container_fetch
};
static const coco_aws_provider_t  coco_aws_imds = {
    "instance metadata", coco_aws_imds_fetch
};


const coco_aws_provider_t *
coco_aws_provider_choose(char *error, size_t error_size)
{
    const char  *disabled;

    if (coco_aws_getenv("AWS_ACCESS_KEY_ID") != NULL
        || coco_aws_getenv("AWS_SECRET_ACCESS_KEY") != NULL)
    {
        if (coco_aws_getenv("AWS_ACCESS_KEY_ID") == NULL
            || coco_aws_getenv("AWS_SECRET_ACCESS_KEY") == NULL)
        {
            snprintf(error, error_size, "AWS_ACCESS_KEY_ID and "
                     "AWS_SECRET_ACCESS_KEY go together: set both or neither");
            return NULL;
        }

        return &coco_aws_environment;
    }

    if (coco_aws_getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != NULL) {
        if (coco_aws_getenv("AWS_ROLE_ARN") == NULL) {
            snprintf(error, error_size, "AWS_WEB_IDENTITY_TOKEN_FILE is set: "
                     "set AWS_ROLE_ARN, too");
            return NULL;
        }

        return &coco_aws_identity;
    }

    if (coco_aws_getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != NULL
        || coco_aws_getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != NULL)
    {
        return &coco_aws_container;
    }

    disabled = coco_aws_getenv("AWS_EC2_METADATA_DISABLED");

    if (disabled != NULL && strcasecmp(disabled, "true") == 0) {
        snprintf(error, error_size, "no AWS credentials: set "
                 "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
                 "process a role (AWS_EC2_METADATA_DISABLED is true)");
        return NULL;
    }

    return &coco_aws_imds;
}


static const char *
coco_aws_getenv(const char *name)
{
    const char  *value;

    value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : NULL;
}


static int
coco_aws_environment_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size)
{
    size_t       fits;
    const char  *token;

    token = coco_aws_getenv("AWS_SESSION_TOKEN");
    token = token != NULL ? token : "";
    ret->expires_at = INT64_MAX;

    fits = snprintf(ret->access_key, sizeof(ret->access_key), "%s",
                    getenv("AWS_ACCESS_KEY_ID"))
           < (int) sizeof(ret->access_key);
    fits &= snprintf(ret->secret_key, sizeof(ret->secret_key), "%s",
                     getenv("AWS_SECRET_ACCESS_KEY"))
            < (int) sizeof(ret->secret_key);
    fits &= snprintf(ret->token, sizeof(ret->token), "%s", token)
            < (int) sizeof(ret->token);

    if (!fits) {
        snprintf(error, error_size, "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                 "or AWS_SESSION_TOKEN is too long to be one");
        return COCO_ERROR;
    }

    return COCO_OK;
}


/* STS AssumeRoleWithWebIdentity, which nobody signs: the token is the proof. */
static int
coco_aws_identity_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size)
{
    int                rc;
    long               status;
    char              *token, *form, url[COCO_AWS_URL_MAX];
    const char        *endpoint;
    coco_aws_fetch_t   fetch = { .method = "POST" };
    coco_aws_reply_t   reply = { .max = COCO_AWS_REPLY_MAX };

    token = coco_aws_file_read(getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), error,
                               error_size);
    if (token == NULL) {
        return COCO_ERROR;
    }

    form = coco_aws_identity_form(token);
    OPENSSL_clear_free(token, strlen(token));

    if (form == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    coco_aws_endpoint_default(url, sizeof(url), "sts", region);
    endpoint = coco_aws_getenv("AWS_ENDPOINT_URL_STS");

    fetch.url = endpoint != NULL ? endpoint : url;
    fetch.body = (coco_str_t) { form, strlen(form) };
    fetch.timeout_ms = COCO_AWS_STS_MS;
    fetch.stop = stop;

    rc = coco_aws_fetch(&fetch, &reply, &status, error, error_size);

    if (rc == COCO_OK) {
        rc = coco_aws_identity_read(ret, status,
                                    (coco_str_t) { reply.data, reply.len },
                                    error, error_size);
    }

    OPENSSL_clear_free(form, strlen(form));
    coco_aws_reply_free(&reply);

    return rc;
}


/* To be freed by OPENSSL_clear_free; NULL: no memory. */
static char *
coco_aws_identity_form(const char *token)
{
    char        *arn, *name, *proof, *form = NULL;
    size_t       size;
    const char  *session;

    session = coco_aws_getenv("AWS_ROLE_SESSION_NAME");

    arn = curl_easy_escape(NULL, getenv("AWS_ROLE_ARN"), 0);
    name = curl_easy_escape(NULL, session ? session : "coco-worker", 0);
    proof = curl_easy_escape(NULL, token, 0);

    if (arn != NULL && name != NULL && proof != NULL) {
        size = strlen(arn) + strlen(name) + strlen(proof) + 128;
        form = OPENSSL_malloc(size);

        if (form != NULL) {
            snprintf(form, size, "Action=AssumeRoleWithWebIdentity"
                     "&Version=2011-06-15&RoleArn=%s&RoleSessionName=%s"
                     "&WebIdentityToken=%s", arn, name, proof);
        }
    }

    if (proof != NULL) {
        OPENSSL_cleanse(proof, strlen(proof));
    }

    curl_free(arn);
    curl_free(name);
    curl_free(proof);

    return form;
}


static int
coco_aws_identity_read(coco_aws_secret_t *ret, long status, coco_str_t text,
    char *error, size_t error_size)
{
    char        code[128], message[256], expiration[64];
    coco_str_t  at;

    if (status != 200) {
        if (text.data == NULL
            || coco_aws_xml_text(text, "Error", "Code", code, sizeof(code))
               != COCO_OK)
        {
            snprintf(error, error_size, "STS answered %ld", status);
            return COCO_ERROR;
        }

        if (coco_aws_xml_text(text, "Error", "Message", message,
                              sizeof(message)) != COCO_OK)
        {
            message[0] = '\0';
        }

        snprintf(error, error_size, "STS refused AWS_ROLE_ARN or the token "
                 "of AWS_WEB_IDENTITY_TOKEN_FILE: %s %s", code, message);
        return COCO_ERROR;
    }

    if (text.data == NULL
        || coco_aws_xml_text(text, "Credentials", "AccessKeyId",
                             ret->access_key, sizeof(ret->access_key))
        || coco_aws_xml_text(text, "Credentials", "SecretAccessKey",
                             ret->secret_key, sizeof(ret->secret_key))
        || coco_aws_xml_text(text, "Credentials", "SessionToken", ret->token,
                             sizeof(ret->token))
        || coco_aws_xml_text(text, "Credentials", "Expiration", expiration,
                             sizeof(expiration)))
    {
        snprintf(error, error_size, "STS answered without credentials");
        return COCO_ERROR;
    }

    at = (coco_str_t) { expiration, strlen(expiration) };

    if (coco_time_parse(&ret->expires_at, at) != COCO_OK) {
        snprintf(error, error_size, "STS answered with an Expiration that is "
                 "no time");
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int
coco_aws_container_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size)
{
    int                rc;
    long               status;
    char              *header, url[COCO_AWS_URL_MAX];
    coco_aws_fetch_t   fetch = { .method = "GET", .direct = true };
    coco_aws_reply_t   reply = { .max = COCO_AWS_REPLY_MAX };

    if (coco_aws_container_url(url, sizeof(url), error, error_size) != COCO_OK
        || coco_aws_container_header(&header, error, error_size) != COCO_OK)
    {
        return COCO_ERROR;
    }

    fetch.url = url;
    fetch.headers[0] = header;
    fetch.timeout_ms = COCO_AWS_CONTAINER_MS;
    fetch.stop = stop;

    rc = coco_aws_fetch(&fetch, &reply, &status, error, error_size);

    if (rc == COCO_OK && status != 200) {
        snprintf(error, error_size, "the container's credentials endpoint "
                 "answered %ld: check the role of the task or pod, and "
                 "AWS_CONTAINER_AUTHORIZATION_TOKEN%s", status,
                 coco_aws_getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
                 ? "_FILE" : "");
        rc = COCO_ERROR;
    }

    if (rc == COCO_OK) {
        rc = coco_aws_secret_read(ret, (coco_str_t) { reply.data, reply.len },
                                  error, error_size);
    }

    if (header != NULL) {
        OPENSSL_clear_free(header, strlen(header));
    }

    coco_aws_reply_free(&reply);

    return rc;
}


static int
coco_aws_container_url(char *ret, size_t size, char *error, size_t error_size)
{
    int          n;
    const char  *relative, *full;

    relative = coco_aws_getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");

    if (relative != NULL) {
        n = snprintf(ret, size, "%s%s", COCO_AWS_CONTAINER_URL, relative);

        /* anything else could make it another host's name */
        if (relative[0] != '/' || n >= (int) size) {
            snprintf(error, error_size,
                     "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path: it "
                     "begins with a slash");
            return COCO_ERROR;
        }

        return COCO_OK;
    }

    full = getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");

    if (snprintf(ret, size, "%s", full) >= (int) size
        || !coco_aws_container_allowed(full))
    {
        snprintf(error, error_size, "AWS_CONTAINER_CREDENTIALS_FULL_URI must "
                 "be https, or http to a loopback address, 169.254.170.2, "
                 "169.254.170.23 or [fd00:ec2::23]");
        return COCO_ERROR;
    }

    return COCO_OK;
}


static bool
coco_aws_container_allowed(const char *url)
{
    bool             allowed = false;
    char            *scheme = NULL, *host = NULL;
    CURLU           *u;
    struct in_addr   address;

    u = curl_url();

    if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK
        && curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK)
    {
        if (strcmp(scheme, "https") == 0) {
            allowed = true;

        } else if (strcmp(scheme, "http") == 0) {
            allowed = strcmp(host, "169.254.170.2") == 0
                      || strcmp(host, "169.254.170.23") == 0
                      || strcasecmp(host, "[fd00:ec2::23]") == 0
                      || strcmp(host, "[::1]") == 0
                      || strcasecmp(host, "localhost") == 0
                      || (inet_pton(AF_INET, host, &address) == 1
                          && ntohl(address.s_addr) >> 24 == 127);
        }
    }

    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);

    return allowed;
}


/* *ret is NULL when none is needed, else to be freed by
 * OPENSSL_clear_free. */
static int
coco_aws_container_header(char **ret, char *error, size_t error_size)
{
    char        *token = NULL;
    size_t       size;
    const char  *file, *value;

    *ret = NULL;
    file = coco_aws_getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    value = coco_aws_getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN");

    if (file != NULL) {
        token = coco_aws_file_read(file, error, error_size);
        if (token == NULL) {
            return COCO_ERROR;
        }
        value = token;
    }

    if (value == NULL) {
        return COCO_OK;
    }

    if (strpbrk(value, "\r\n") != NULL) {
        snprintf(error, error_size, "AWS_CONTAINER_AUTHORIZATION_TOKEN%s "
                 "holds a line break", file != NULL ? "_FILE" : "");

    } else {
        size = strlen(value) + sizeof("Authorization: ");
        *ret = OPENSSL_malloc(size);

        if (*ret != NULL) {
            snprintf(*ret, size, "Authorization: %s", value);
        } else {
            snprintf(error, error_size, "out of memory");
        }
    }

    if (token != NULL) {
        OPENSSL_clear_free(token, strlen(token));
    }

    return *ret != NULL ? COCO_OK : COCO_ERROR;
}


/* A token for the session first (version 2), then the role, then its keys. */
static int
coco_aws_imds_fetch(coco_aws_secret_t *ret, const char *region,
    coco_stop_t *stop, char *error, size_t error_size)
{
    int               rc = COCO_ERROR;
    char              token[512], path[512];
    coco_aws_reply_t  reply = { .max = COCO_AWS_REPLY_MAX };

    if (coco_aws_imds_get(&reply, "PUT", "latest/api/token",
                          "X-aws-ec2-metadata-token-ttl-seconds: 21600", stop,
                          error, error_size) != COCO_OK)
    {
        goto done;
    }

    snprintf(token, sizeof(token), "X-aws-ec2-metadata-token: %.*s",
             (int) strcspn(reply.data, "\r\n"), reply.data);

    if (coco_aws_imds_get(&reply, "GET", COCO_AWS_IMDS_PATH, token, stop,
                          error, error_size) != COCO_OK)
    {
        goto done;
    }

    snprintf(path, sizeof(path), COCO_AWS_IMDS_PATH "%.*s",
             (int) strcspn(reply.data, "\r\n"), reply.data);

    if (coco_aws_imds_get(&reply, "GET", path, token, stop, error, error_size)
        == COCO_OK)
    {
        rc = coco_aws_secret_read(ret, (coco_str_t) { reply.data, reply.len },
                                  error, error_size);
    }

done:

    coco_aws_reply_free(&reply);

    return rc;
}


/* The reply, from its start, is never empty. */
static int
coco_aws_imds_get(coco_aws_reply_t *reply, const char *method,
    const char *path, const char *header, coco_stop_t *stop, char *error,
    size_t error_size)
{
    long               status;
    char               url[COCO_AWS_URL_MAX], why[CURL_ERROR_SIZE];
    size_t             len;
    const char        *base;
    coco_aws_fetch_t   fetch = { .direct = true };

    base = coco_aws_getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    base = base != NULL ? base : COCO_AWS_IMDS_URL;
    len = strlen(base);

    snprintf(url, sizeof(url), "%s%s%s", base,
             base[len - 1] == '/' ? "" : "/", path);

    fetch.method = method;
    fetch.url = url;
    fetch.headers[0] = header;
    fetch.timeout_ms = COCO_AWS_IMDS_MS;
    fetch.stop = stop;
    reply->len = 0;

    if (coco_aws_fetch(&fetch, reply, &status, why, sizeof(why)) != COCO_OK) {
        snprintf(error, error_size, "no AWS credentials in the environment "
                 "and no answer from the instance's metadata (%s): set "
                 "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the "
                 "machine a role", why);
        return COCO_ERROR;
    }

    if (status == 404) {
        snprintf(error, error_size, "the instance has no role: attach an IAM "
                 "role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        return COCO_ERROR;
    }

    if (status != 200 || reply->len == 0) {
        snprintf(error, error_size, "the instance's metadata answered %ld to "
                 "/%s%s", status, path, reply->len == 0 ? ", empty" : "");
        return COCO_ERROR;
    }

    return COCO_OK;
}


/* What the container's endpoint and IMDS answer. */
static int
coco_aws_secret_read(coco_aws_secret_t *ret, coco_str_t text, char *error,
    size_t error_size)
{
    char               expiration[64], code[64];
    coco_str_t         at;
    coco_error_t       err;
    coco_json_value_t  object, m[5];

    static const coco_str_t  names[] = {
        { "AccessKeyId", 11 }, { "SecretAccessKey", 15 }, { "Token", 5 },
        { "Expiration", 10 }, { "Code", 4 }
    };

    /* as the text holds secrets, not even its errors are shown */
    if (text.data == NULL || coco_message_read(&object, text, &err) != COCO_OK)
    {
        snprintf(error, error_size, "the answer with the credentials is no "
                 "JSON object");
        return COCO_ERROR;
    }

    coco_message_members(&object, names, 5, m);

    if (coco_message_has(&m[4])
        && coco_aws_secret_field(code, sizeof(code), &m[4]) == COCO_OK
        && strcmp(code, "Success") != 0)
    {
        snprintf(error, error_size, "AWS gives no credentials for the role: "
                 "%s", code);
        return COCO_ERROR;
    }

    ret->token[0] = '\0';
    expiration[0] = '\0';
    ret->expires_at = INT64_MAX;

    if (coco_aws_secret_field(ret->access_key, sizeof(ret->access_key), &m[0])
        || coco_aws_secret_field(ret->secret_key, sizeof(ret->secret_key),
                                 &m[1])
        || (coco_message_has(&m[2])
            && coco_aws_secret_field(ret->token, sizeof(ret->token), &m[2]))
        || (coco_message_has(&m[3])
            && coco_aws_secret_field(expiration, sizeof(expiration), &m[3])))
    {
        snprintf(error, error_size, "the answer with the credentials lacks "
                 "AccessKeyId or SecretAccessKey, or a member is no string");
        return COCO_ERROR;
    }

    at = (coco_str_t) { expiration, strlen(expiration) };

    if (at.len > 0 && coco_time_parse(&ret->expires_at, at) != COCO_OK) {
        snprintf(error, error_size, "the credentials' Expiration is no time");
        return COCO_ERROR;
    }

    return COCO_OK;
}


static int
coco_aws_secret_field(char *ret, size_t size, const coco_json_value_t *value)
{
    coco_str_t  text;

    if (!coco_message_has(value) || value->type != COCO_JSON_STRING
        || value->string.len == 0 || value->string.len >= size)
    {
        return COCO_ERROR;
    }

    text = coco_json_unescape(value, ret);

    if (text.data != ret) {
        memcpy(ret, text.data, text.len);
    }

    ret[text.len] = '\0';

    return COCO_OK;
}


/* Without the space at its end; to be freed by OPENSSL_clear_free. */
static char *
coco_aws_file_read(const char *path, char *error, size_t error_size)
{
    FILE   *file;
    char   *text;
    size_t  len = 0;

    file = fopen(path, "re");
    if (file == NULL) {
        snprintf(error, error_size, "cannot read the token in %s: %s", path,
                 strerror(errno));
        return NULL;
    }

    text = OPENSSL_malloc(COCO_AWS_TOKEN_MAX);
    if (text != NULL) {
        len = fread(text, 1, COCO_AWS_TOKEN_MAX, file);
    }

    fclose(file);

    while (len > 0 && len < COCO_AWS_TOKEN_MAX
           && strchr(" \t\r\n", text[len - 1]) != NULL)
    {
        len--;
    }

    if (len == 0 || len == COCO_AWS_TOKEN_MAX) {
        snprintf(error, error_size, "the token in %s is empty or longer than "
                 "%d bytes", path, COCO_AWS_TOKEN_MAX - 1);
        OPENSSL_clear_free(text, COCO_AWS_TOKEN_MAX);
        return NULL;
    }

    text[len] = '\0';

    return text;
}
