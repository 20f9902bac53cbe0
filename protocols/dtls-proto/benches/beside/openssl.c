/* OpenSSL as a DTLS server: a loop round one socket, a session for each address in 127.1.0.0/16. It sends back what it gets.
 * Arguments: port, PEM file with key and certificate ("-" for a pre-shared key). */

#include <arpa/inet.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct session {
    SSL *ssl;
    BIO *in, *out;
};

static struct session sessions[65536];
static unsigned char secret[32];

static int make_cookie(SSL *ssl, unsigned char *cookie, unsigned int *length)
{
    const void *index = SSL_get_app_data(ssl);
    HMAC(EVP_sha256(), secret, sizeof secret, (const unsigned char *) &index, sizeof index, cookie, length);
    *length = 16;
    return 1;
}

static int check_cookie(SSL *ssl, const unsigned char *cookie, unsigned int length)
{
    unsigned char right[EVP_MAX_MD_SIZE];
    unsigned int right_length;
    make_cookie(ssl, right, &right_length);
    return length == right_length && CRYPTO_memcmp(cookie, right, length) == 0;
}

static unsigned int find_key(SSL *ssl, const char *identity, unsigned char *key, unsigned int size)
{
    static const char known[] = "secret1";
    (void) ssl;
    (void) identity;
    if (size < strlen(known)) {
        return 0;
    }
    memcpy(key, known, strlen(known));
    return strlen(known);
}

/* Nobody here looks at chains; that the peer has its key is checked all the same. */
static int believe(X509_STORE_CTX *store, void *nothing)
{
    (void) store;
    (void) nothing;
    return 1;
}

static SSL_CTX *context(const char *pem)
{
    SSL_CTX *made = SSL_CTX_new(DTLS_server_method());
    SSL_CTX_set_min_proto_version(made, DTLS1_2_VERSION);
    SSL_CTX_set_options(made, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU | SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_cookie_generate_cb(made, make_cookie);
    SSL_CTX_set_cookie_verify_cb(made, check_cookie);
    if (SSL_CTX_set_cipher_list(made, "PSK-AES128-CCM8:PSK-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0") != 1) {
        exit(1);
    }
    if (strcmp(pem, "-") == 0) {
        SSL_CTX_set_psk_server_callback(made, find_key);
    } else {
        if (SSL_CTX_use_certificate_file(made, pem, SSL_FILETYPE_PEM) != 1
            || SSL_CTX_use_PrivateKey_file(made, pem, SSL_FILETYPE_PEM) != 1) {
            exit(1);
        }
        SSL_CTX_set_verify(made, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_cert_verify_callback(made, believe, NULL);
    }
    return made;
}

static void begin(SSL_CTX *made, struct session *session)
{
    session->ssl = SSL_new(made);
    session->in = BIO_new(BIO_s_mem());
    session->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(session->in, -1);
    BIO_set_mem_eof_return(session->out, -1);
    SSL_set_bio(session->ssl, session->in, session->out);
    SSL_set_app_data(session->ssl, session);
    SSL_set_accept_state(session->ssl);
    SSL_set_mtu(session->ssl, 1232);
}

/* Whether the session lives. */
static int handle(struct session *session, const unsigned char *datagram, int length)
{
    unsigned char data[2048];
    int result = 1;
    BIO_write(session->in, datagram, length);
    if (!SSL_is_init_finished(session->ssl)) {
        result = SSL_do_handshake(session->ssl);
    }
    while (result > 0 && (result = SSL_read(session->ssl, data, sizeof data)) > 0) {
        SSL_write(session->ssl, data, result);
    }
    return SSL_get_error(session->ssl, result) == SSL_ERROR_WANT_READ;
}

int main(int count, char **words)
{
    struct sockaddr_in here = { 0 }, peer;
    unsigned char datagram[65536];
    if (count != 3) {
        return 64;
    }
    SSL_CTX *made = context(words[2]);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    here.sin_family = AF_INET;
    here.sin_port = htons((unsigned short) atoi(words[1]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (RAND_bytes(secret, sizeof secret) != 1 || bind(udp, (struct sockaddr *) &here, sizeof here) != 0) {
        return 1;
    }
    printf("listening\n");
    fflush(stdout);
    for (;;) {
        socklen_t size = sizeof peer;
        int length = recvfrom(udp, datagram, sizeof datagram, 0, (struct sockaddr *) &peer, &size);
        if (length <= 0) {
            continue;
        }
        struct session *session = &sessions[ntohl(peer.sin_addr.s_addr) & 0xffff];
        if (session->ssl == NULL) {
            begin(made, session);
        }
        int lives = handle(session, datagram, length);
        /* A flight of ours goes in one datagram; it is shorter than what loopback takes. */
        length = BIO_read(session->out, datagram, sizeof datagram);
        if (length > 0) {
            sendto(udp, datagram, length, 0, (struct sockaddr *) &peer, size);
        }
        if (!lives) {
            SSL_free(session->ssl);
            session->ssl = NULL;
        }
    }
}
