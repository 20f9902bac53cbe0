/* A DTLS client on Mbed TLS: each line of hexadecimal digits that it reads is sent as one record,
 * and each record that comes is printed as such a line behind "< ".
 * Arguments: address, port, code of max_fragment_length (0: none), PEM file with key and certificate
 * ("-" for a pre-shared key); or only "version". */

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <mbedtls/timing.h>
#include <mbedtls/version.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mbedtls_ssl_context ssl;

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

static void receive(void)
{
    unsigned char record[16384];
    int length, at;

    do {
        length = mbedtls_ssl_read(&ssl, record, sizeof record);
        if (length == MBEDTLS_ERR_SSL_WANT_READ || length == MBEDTLS_ERR_SSL_TIMEOUT) {
            return;
        }
        must("read", length);
        printf("< ");
        for (at = 0; at < length; at++) {
            printf("%02x", record[at]);
        }
        printf("\n");
    } while (mbedtls_ssl_check_pending(&ssl));
}

static void send_line(const char *line)
{
    unsigned char record[4096];
    size_t length = 0;
    unsigned int byte;

    while (length < sizeof record && sscanf(line + 2 * length, "%2x", &byte) == 1) {
        record[length++] = (unsigned char) byte;
    }
    must("write", mbedtls_ssl_write(&ssl, record, length));
}

int main(int count, char **words)
{
    static const char identity[] = "sensor1@DEFAULT_TENANT", key[] = "hono-secret";
    static const int suites[] = { MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, 0 };
    static char line[8300];
    struct pollfd ready[2];
    int result;
    mbedtls_net_context server;
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
    if (count != 5) {
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Nothing may be left in a buffer that poll does not see. */
    setvbuf(stdin, NULL, _IONBF, 0);
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    must("seed", mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0));
    mbedtls_ssl_config_init(&config);
    must("config", mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_CLIENT,
                                               MBEDTLS_SSL_TRANSPORT_DATAGRAM,
                                               MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_rng(&config, mbedtls_ctr_drbg_random, &random);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_read_timeout(&config, 200);
    must("max_fragment_length", mbedtls_ssl_conf_max_frag_len(&config, (unsigned char) atoi(words[3])));
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&private_key);
    if (strcmp(words[4], "-") == 0) {
        mbedtls_ssl_conf_ciphersuites(&config, suites);
        must("key", mbedtls_ssl_conf_psk(&config, (const unsigned char *) key, strlen(key),
                                         (const unsigned char *) identity, strlen(identity)));
    } else {
        must("certificate", mbedtls_x509_crt_parse_file(&certificate, words[4]));
        must("private key", mbedtls_pk_parse_keyfile(&private_key, words[4], NULL));
        must("own certificate", mbedtls_ssl_conf_own_cert(&config, &certificate, &private_key));
    }
    mbedtls_ssl_init(&ssl);
    must("setup", mbedtls_ssl_setup(&ssl, &config));
    mbedtls_ssl_set_bio(&ssl, &server, mbedtls_net_send, mbedtls_net_recv, mbedtls_net_recv_timeout);
    mbedtls_ssl_set_timer_cb(&ssl, &timer, mbedtls_timing_set_delay, mbedtls_timing_get_delay);
    mbedtls_net_init(&server);
    must("connect", mbedtls_net_connect(&server, words[1], words[2], MBEDTLS_NET_PROTO_UDP));
    while ((result = mbedtls_ssl_handshake(&ssl)) == MBEDTLS_ERR_SSL_WANT_READ ||
           result == MBEDTLS_ERR_SSL_WANT_WRITE) {
    }
    must("handshake", result);
    printf("established\n");
    ready[0].fd = 0;
    ready[1].fd = server.fd;
    ready[0].events = ready[1].events = POLLIN;
    while (poll(ready, 2, -1) > 0) {
        if (ready[1].revents != 0) {
            receive();
        }
        if (ready[0].revents != 0) {
            if (fgets(line, sizeof line, stdin) == NULL) {
                break;
            }
            send_line(line);
        }
    }
    mbedtls_ssl_close_notify(&ssl);
    return 0;
}
