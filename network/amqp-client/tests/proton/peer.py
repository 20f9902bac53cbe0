"""An AMQP peer made with qpid-proton. It listens, and says in JSON, a line each, what happens.

peer.py PORT OUTCOME CREDIT [CERTIFICATE KEY CA]

To a client that sends it gives CREDIT and settles each message as OUTCOME says. To a client that receives it sends three messages.
With a certificate it speaks TLS, and asks for one by SASL EXTERNAL.
"""

import json
import sys

from proton import Condition, Delivery, Message, SSLDomain, symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container


def say(**what):
    print(json.dumps(what, default=str), flush=True)


def plain(value):
    if isinstance(value, (bytes, memoryview)):
        return {"hex": bytes(value).hex()}
    if isinstance(value, symbol):
        return {"symbol": str(value)}
    return value


STATES = {Delivery.ACCEPTED: "ACCEPTED", Delivery.REJECTED: "REJECTED", Delivery.RELEASED: "RELEASED",
          Delivery.MODIFIED: "MODIFIED"}


class Peer(MessagingHandler):
    def __init__(self, port, outcome, credit, tls):
        super().__init__(prefetch=0, auto_accept=False)
        self.port, self.outcome, self.credit, self.tls = port, outcome, int(credit), tls
        self.sent = 0

    def on_start(self, event):
        scheme = "amqp"
        if self.tls:
            certificate, key, ca = self.tls
            domain = SSLDomain(SSLDomain.MODE_SERVER)
            domain.set_credentials(certificate, key, None)
            domain.set_trusted_ca_db(ca)
            domain.set_peer_authentication(SSLDomain.VERIFY_PEER, ca)
            event.container.ssl.server = domain
            scheme = "amqps"
        event.container.listen(f"{scheme}://127.0.0.1:{self.port}")
        say(event="listening")

    def on_connection_opening(self, event):
        event.connection.container = "proton"
        say(event="open", container=event.connection.remote_container,
            mechanism=event.transport.sasl().mech, user=event.transport.user,
            idle=event.transport.remote_idle_timeout)

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        if link.is_receiver:
            say(event="sender", address=link.remote_target.address, settle=link.remote_snd_settle_mode)
            if self.credit:
                link.flow(self.credit)
        else:
            say(event="receiver", address=link.remote_source.address, credit=link.credit)

    def on_sendable(self, event):
        link = event.link
        while link.credit and self.sent < 3:
            link.send(Message(body=f"command {self.sent}", id=7, correlation_id="c", subject="do",
                              reply_to="command_response/T/r", properties={"number": self.sent}))
            self.sent += 1

    def on_message(self, event):
        message, delivery = event.message, event.delivery
        say(event="message", address=event.link.remote_target.address, settled=delivery.settled,
            durable=message.durable, ttl=message.ttl, id=message.id, to=message.address,
            correlation=message.correlation_id, created=message.creation_time,
            content_type=plain(message.content_type),
            annotations={str(key): plain(value) for key, value in (message.annotations or {}).items()},
            properties={key: [type(value).__name__, plain(value)] for key, value in (message.properties or {}).items()},
            body=plain(message.body))
        if self.outcome == "silent":
            return
        if self.outcome == "modify":
            delivery.local.failed = True
            delivery.local.undeliverable = True
        if self.outcome == "reject":
            delivery.local.condition = Condition("hono:bad-request", "no thanks")
        delivery.update({"accept": Delivery.ACCEPTED, "reject": Delivery.REJECTED,
                         "release": Delivery.RELEASED, "modify": Delivery.MODIFIED}[self.outcome])
        delivery.settle()

    def on_settled(self, event):
        delivery = event.delivery
        condition = delivery.remote.condition
        say(event="settled", state=STATES.get(int(delivery.remote_state)), condition=condition and condition.name,
            description=condition and condition.description)

    def on_link_closing(self, event):
        say(event="detached")

    def on_connection_closing(self, event):
        say(event="closed")


port, outcome, credit, *tls = sys.argv[1:]
Container(Peer(port, outcome, credit, tls)).run()
