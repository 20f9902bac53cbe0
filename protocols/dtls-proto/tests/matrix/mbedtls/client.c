/* A DTLS client on Mbed TLS, steered by lines: each line it reads it sends, and prints the answer behind "< ".
 * Arguments: port, code of the suite, MTU (0: as it likes), "tickets" or "ids", PEM file with key and certificate ("-" for a
 * pre-shared key); or only "version". The line "RESUME" closes the session and resumes it. */

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/timing.h>
#include <mbedtls/version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mbedtls_net_context server;
static mbedtls_ssl_context ssl;
static const char *port;

static int must(const char *what, int result)
{
    if (result < 0) {
        char reason[200];
        mbedtls_strerror(result, reason, sizeof reason);
        printf("%s: %s\n", what, reason);
        exit(1);
    }
    return result;
}

static void shake(void)
{
    int result;
    mbedtls_net_init(&server);
    must("connect", mbedtls_net_connect(&server, "127.0.0.1", port, MBEDTLS_NET_PROTO_UDP));
    while ((result = mbedtls_ssl_handshake(&ssl)) == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE) {
    }
    must("handshake", result);
    printf("established\n");
}

static void resume(void)
{
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    must("get session", mbedtls_ssl_get_session(&ssl, &session));
    mbedtls_ssl_close_notify(&ssl);
    mbedtls_net_free(&server);
    must("reset", mbedtls_ssl_session_reset(&ssl));
    must("set session", mbedtls_ssl_set_session(&ssl, &session));
    mbedtls_ssl_session_free(&session);
    shake();
}

static void say(const char *line)
{
    unsigned char answer[4096];
    int length;
    must("write", mbedtls_ssl_write(&ssl, (const unsigned char *) line, strlen(line)));
    while ((length = mbedtls_ssl_read(&ssl, answer, sizeof answer)) == MBEDTLS_ERR_SSL_WANT_READ) {
    }
    must("read", length);
    printf("< %.*s\n", length, (const char *) answer);
}

int main(int count, char **words)
{
    static const char identity[] = "sensor1@DEFAULT_TENANT", key[] = "secret1";
    int suites[2] = { 0, 0 };
    char line[1024];
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_timing_delay_context timer;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context private_key;

    if (count == 2 && strcmp(words[1], "version") == 0) {
        printf("%s\n", MBEDTLS_VERSION_STRING_FULL);
        return 0;
    }
    if (count != 6) {
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    port = words[1];
    suites[0] = atoi(words[2]);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    must("seed", mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0));
    mbedtls_ssl_config_init(&config);
    must("config", mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                               MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_ciphersuites(&config, suites);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_session_tickets(&config, strcmp(words[4], "tickets") == 0);
    mbedtls_ssl_conf_read_timeout(&config, 5000);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&private_key);
    if (strcmp(words[5], "-") == 0) {
        must("key", mbedtls_ssl_conf_psk(&config, (const unsigned char *) key, strlen(key),
                                         (const unsigned char *) identity, strlen(identity)));
    } else {
        must("certificate", mbedtls_x509_crt_parse_file(&certificate, words[5]));
        must("private key", mbedtls_pk_parse_keyfile(&private_key, words[5], NULL));
        must("own certificate", mbedtls_ssl_conf_own_cert(&config, &certificate, &private_key));
    }
    mbedtls_ssl_init(&ssl);
    must("setup", mbedtls_ssl_setup(&ssl, &config));
    mbedtls_ssl_set_bio(&ssl, &server, mbedtls_net_send, mbedtls_net_recv, mbedtls_net_recv_timeout);
    mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
    if (atoi(words[3]) != 0) {
        mbedtls_ssl_set_mtu(&ssl, (uint16_t) atoi(words[3]));
    }
    shake();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (strcmp(line, "RESUME") == 0) {
            resume();
        } else {
            say(line);
        }
    }
    mbedtls_ssl_close_notify(&ssl);
    return 0;
}
