/* A receiver and a sender made with qpid-proton's C library, to measure others against.
 *
 * cc -O2 -o proton proton.c $(pkg-config --cflags --libs libqpid-proton)
 * ./proton receive PORT COUNT   accepts each message; tells how long each COUNT of a connection took, from first to last
 * ./proton send PORT COUNT      sends COUNT messages as fast as credit allows and waits for all dispositions
 */
#include <proton/connection.h>
#include <proton/delivery.h>
#include <proton/link.h>
#include <proton/listener.h>
#include <proton/message.h>
#include <proton/netaddr.h>
#include <proton/proactor.h>
#include <proton/session.h>
#include <proton/transport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CREDIT = 1000, PAYLOAD = 100 };

static pn_proactor_t *proactor;
static pn_message_t *message;
static pn_rwbytes_t buffer;
static int count, sent, acknowledged, received;
static double started;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static pn_bytes_t text(const char *word) { return pn_bytes(strlen(word), word); }

static void put(pn_data_t *data, const char *key, const char *value) {
  pn_data_put_symbol(data, text(key));
  pn_data_put_string(data, text(value));
}

/* What an adapter sends: annotations, properties, application properties, 100 bytes of payload. */
static void fill(int number) {
  static char payload[PAYLOAD], id[32];
  pn_message_clear(message);
  pn_data_t *data = pn_message_annotations(message);
  pn_data_put_map(data);
  pn_data_enter(data);
  put(data, "tenant_id", "DEFAULT_TENANT");
  put(data, "device_id", "4711");
  put(data, "resource", "telemetry/DEFAULT_TENANT/4711");
  snprintf(id, sizeof id, "GenericSenderLink-%d", number);
  pn_atom_t atom = {.type = PN_STRING, .u.as_bytes = text(id)};
  pn_message_set_id(message, atom);
  pn_message_set_address(message, "telemetry/DEFAULT_TENANT");
  pn_message_set_content_type(message, "application/octet-stream");
  pn_message_set_creation_time(message, 1700000000000);
  data = pn_message_properties(message);
  pn_data_put_map(data);
  pn_data_enter(data);
  const char *properties[][2] = {{"device_id", "4711"}, {"orig_adapter", "hono-coap"}, {"orig_address", "/telemetry"}};
  for (int at = 0; at < 3; at++) {
    pn_data_put_string(data, text(properties[at][0]));
    pn_data_put_string(data, text(properties[at][1]));
  }
  pn_data_put_string(data, text("qos"));
  pn_data_put_int(data, 1);
  pn_data_put_binary(pn_message_body(message), pn_bytes(PAYLOAD, payload));
  pn_message_set_inferred(message, true);
}

static void send_while_credit(pn_link_t *link) {
  if (!started) started = now();
  while (pn_link_credit(link) > 0 && sent < count) {
    fill(sent);
    ++sent;
    pn_delivery(link, pn_dtag((const char *)&sent, sizeof sent));
    pn_message_send(message, link, &buffer);
  }
}

static void take(pn_link_t *link, pn_delivery_t *delivery) {
  static char bytes[64 * 1024];
  if (pn_delivery_partial(delivery)) return;
  while (pn_link_recv(link, bytes, sizeof bytes) > 0) {}
  pn_delivery_update(delivery, PN_ACCEPTED);
  pn_delivery_settle(delivery);
  if (received++ == 0) started = now();
  if (received == count) {
    double taken = now() - started;
    printf("%d messages in %.3f s: %.0f messages/s\n", count, taken, (count - 1) / taken);
    fflush(stdout);
    received = 0;
  }
  if (pn_link_credit(link) < CREDIT / 2) pn_link_flow(link, CREDIT - pn_link_credit(link));
}

static void on_delivery(pn_event_t *event) {
  pn_delivery_t *delivery = pn_event_delivery(event);
  pn_link_t *link = pn_delivery_link(delivery);
  if (pn_link_is_receiver(link)) {
    if (pn_delivery_readable(delivery)) take(link, delivery);
  } else if (pn_delivery_updated(delivery)) {
    pn_delivery_settle(delivery);
    if (++acknowledged == count) pn_connection_close(pn_event_connection(event));
  }
}

static int handle(pn_event_t *event, int sends) {
  switch (pn_event_type(event)) {
  case PN_LISTENER_ACCEPT:
    pn_listener_accept2(pn_event_listener(event), NULL, NULL);
    break;
  case PN_CONNECTION_INIT:
    if (sends) {
      pn_connection_open(pn_event_connection(event));
      pn_session_t *session = pn_session(pn_event_connection(event));
      pn_session_open(session);
      pn_link_t *link = pn_sender(session, "sender");
      pn_terminus_set_address(pn_link_target(link), "telemetry/DEFAULT_TENANT");
      pn_link_set_snd_settle_mode(link, PN_SND_UNSETTLED);
      pn_link_open(link);
    }
    break;
  case PN_CONNECTION_REMOTE_OPEN:
    received = 0;
    pn_connection_open(pn_event_connection(event));
    break;
  case PN_SESSION_REMOTE_OPEN:
    pn_session_open(pn_event_session(event));
    break;
  case PN_LINK_REMOTE_OPEN: {
    pn_link_t *link = pn_event_link(event);
    if (pn_link_is_receiver(link)) {
      pn_terminus_copy(pn_link_target(link), pn_link_remote_target(link));
      pn_link_open(link);
      pn_link_flow(link, CREDIT);
    }
    break;
  }
  case PN_LINK_FLOW:
    if (sends) send_while_credit(pn_event_link(event));
    break;
  case PN_DELIVERY:
    on_delivery(event);
    break;
  case PN_LINK_REMOTE_CLOSE:
    pn_link_close(pn_event_link(event));
    break;
  case PN_SESSION_REMOTE_CLOSE:
    pn_session_close(pn_event_session(event));
    break;
  case PN_CONNECTION_REMOTE_CLOSE:
    pn_connection_close(pn_event_connection(event));
    break;
  case PN_PROACTOR_INACTIVE:
    return 0;
  default:
    break;
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  int sends = strcmp(argv[1], "send") == 0;
  char address[PN_MAX_ADDR];
  pn_proactor_addr(address, sizeof address, "127.0.0.1", argv[2]);
  count = atoi(argv[3]);
  proactor = pn_proactor();
  message = pn_message();
  if (sends) pn_proactor_connect2(proactor, NULL, NULL, address);
  else pn_proactor_listen(proactor, pn_listener(), address, 16);
  for (int more = 1; more;) {
    pn_event_batch_t *batch = pn_proactor_wait(proactor);
    for (pn_event_t *event; (event = pn_event_batch_next(batch));) more = handle(event, sends) && more;
    pn_proactor_done(proactor, batch);
  }
  return 0;
}
