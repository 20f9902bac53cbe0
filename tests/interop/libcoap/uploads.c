/* A device on libcoap that uploads several bodies at a time, block-wise: each gets a Request-Tag.
 * Arguments: address, port, "psk" or "plain", path, then the length of each body. The bodies are
 * made of the letters a, b, and so on. Each response is printed, such as "a 2.04". */

#include <arpa/inet.h>
#include <coap3/coap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BODIES 8

static size_t bodies;
static size_t answered;
static uint8_t tokens[MAX_BODIES][8];
static size_t token_lengths[MAX_BODIES];

static coap_response_t on_response(coap_session_t *session, const coap_pdu_t *sent,
                                   const coap_pdu_t *received, const coap_mid_t id)
{
    coap_bin_const_t token = coap_pdu_get_token(received);
    int code = coap_pdu_get_code(received);
    size_t body;

    (void) session;
    (void) sent;
    (void) id;
    for (body = 0; body < bodies; body++) {
        if (token.length == token_lengths[body] && memcmp(token.s, tokens[body], token.length) == 0) {
            printf("%c %d.%02d\n", (char) ('a' + body), code >> 5, code & 31);
            answered++;
        }
    }
    return COAP_RESPONSE_OK;
}

static void on_failure(coap_session_t *session, const coap_pdu_t *sent,
                       const coap_nack_reason_t reason, const coap_mid_t id)
{
    (void) session;
    (void) sent;
    (void) id;
    printf("not sent: %d\n", (int) reason);
    exit(1);
}

static void upload(coap_session_t *session, int secured, const char *path, size_t body, size_t length)
{
    coap_pdu_code_t method = secured ? COAP_REQUEST_CODE_POST : COAP_REQUEST_CODE_PUT;
    coap_pdu_t *request = coap_new_pdu(COAP_MESSAGE_CON, method, session);
    char *copy = strdup(path), *segment;
    uint8_t format[4], *payload = malloc(length);

    memset(payload, 'a' + (int) body, length);
    coap_session_new_token(session, &token_lengths[body], tokens[body]);
    coap_add_token(request, token_lengths[body], tokens[body]);
    for (segment = strtok(copy, "/"); segment != NULL; segment = strtok(NULL, "/")) {
        coap_add_option(request, COAP_OPTION_URI_PATH, strlen(segment), (const uint8_t *) segment);
    }
    coap_add_option(request, COAP_OPTION_CONTENT_FORMAT,
                    coap_encode_var_safe(format, sizeof format, COAP_MEDIATYPE_APPLICATION_OCTET_STREAM),
                    format);
    coap_add_data_large_request(session, request, length, payload, NULL, NULL);
    coap_send(session, request);
    free(copy);
}

int main(int count, char **words)
{
    static const char identity[] = "sensor1@DEFAULT_TENANT", key[] = "hono-secret";
    coap_address_t server;
    coap_context_t *context;
    coap_session_t *session;
    coap_dtls_cpsk_t psk;
    int secured, turn;

    if (count < 6 || count - 5 > MAX_BODIES) {
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    coap_startup();
    coap_address_init(&server);
    server.size = sizeof server.addr.sin;
    server.addr.sin.sin_family = AF_INET;
    server.addr.sin.sin_port = htons((uint16_t) atoi(words[2]));
    inet_pton(AF_INET, words[1], &server.addr.sin.sin_addr);
    context = coap_new_context(NULL);
    coap_context_set_block_mode(context, COAP_BLOCK_USE_LIBCOAP | COAP_BLOCK_SINGLE_BODY);
    coap_register_response_handler(context, on_response);
    coap_register_nack_handler(context, on_failure);
    secured = strcmp(words[3], "psk") == 0;
    if (secured) {
        memset(&psk, 0, sizeof psk);
        psk.version = COAP_DTLS_CPSK_SETUP_VERSION;
        psk.psk_info.identity.s = (const uint8_t *) identity;
        psk.psk_info.identity.length = strlen(identity);
        psk.psk_info.key.s = (const uint8_t *) key;
        psk.psk_info.key.length = strlen(key);
        session = coap_new_client_session_psk2(context, NULL, &server, COAP_PROTO_DTLS, &psk);
    } else {
        session = coap_new_client_session(context, NULL, &server, COAP_PROTO_UDP);
    }
    if (session == NULL) {
        printf("no session\n");
        return 1;
    }
    bodies = (size_t) count - 5;
    for (turn = 5; turn < count; turn++) {
        upload(session, secured, words[4], (size_t) turn - 5, (size_t) atoi(words[turn]));
    }
    for (turn = 0; turn < 300 && answered < bodies; turn++) {
        coap_io_process(context, 100);
    }
    coap_session_release(session);
    coap_free_context(context);
    coap_cleanup();
    return answered == bodies ? 0 : 1;
}
