"""Sends commands with qpid-proton, each of another form, and tells what became of each as a line of JSON.

    sender.py HOST:PORT TENANT DEVICE FORM...

A form is a name of the table below. "ready" is written once the link has credit; each form is sent when a line comes in.
"""

import json
import sys
import threading
import uuid

from proton import Delivery, Message, symbol, ulong
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

# What differs from a command that is as it has to be.
FORMS = {
    "good": {},
    "bytes": {"body": b"\x00\xff", "inferred": True},
    "value-bytes": {"body": b"on", "inferred": False},
    "value-text": {"body": "on", "inferred": False},
    "no-body": {"body": None, "inferred": True},
    "value-int": {"body": 7},
    "value-list": {"body": ["on"], "inferred": False},
    "value-map": {"body": {"on": True}},
    "value-uuid": {"body": uuid.UUID(int=7)},
    "sequence": {"body": ["on"], "inferred": True},
    "no-subject": {"subject": None},
    "id-ulong": {"correlation_id": ulong(7)},
    "id-uuid": {"correlation_id": uuid.UUID(int=7)},
    "id-bytes": {"correlation_id": b"id"},
    "reply-to-nonsense": {"reply_to": "nonsense/x"},
    "annotations": {"annotations": {symbol("x-opt-list"): [1, "a", {"b": 2}]}},
    "properties": {"properties": {"n": 1, "via": 7, "list": uuid.UUID(int=1)}},
}
OUTCOMES = {
    Delivery.ACCEPTED: "accepted",
    Delivery.REJECTED: "rejected",
    Delivery.RELEASED: "released",
    Delivery.MODIFIED: "modified",
}


def tell(value):
    print(json.dumps(value), flush=True)


class Sender(MessagingHandler):
    def __init__(self, peer, tenant, device, forms):
        super().__init__(auto_settle=True)
        self.peer, self.tenant, self.device = peer, tenant, device
        self.forms = list(forms)
        self.ready = False
        self.injector = EventInjector()

    def on_start(self, event):
        event.container.selectable(self.injector)
        self.connection = event.container.connect(f"amqp://{self.peer}", reconnect=False)
        self.sender = event.container.create_sender(self.connection, f"command/{self.tenant}")

    def on_sendable(self, event):
        if not self.ready:
            self.ready = True
            tell("ready")

    def on_next(self, event):
        form = {
            "address": f"command/{self.tenant}/{self.device}",
            "subject": "go",
            "body": b"x",
            "inferred": True,
            "id": "m-1",
            **FORMS[self.forms.pop(0)],
        }
        inferred = form.pop("inferred")
        message = Message(**form)
        message.inferred = inferred
        self.sender.send(message)

    def on_settled(self, event):
        remote = event.delivery.remote
        condition = remote.condition
        tell([OUTCOMES.get(remote.type, "none"), condition and condition.description])

    def on_leave(self, event):
        self.connection.close()

    def on_transport_error(self, event):
        sys.exit(f"transport: {event.transport.condition}")


def main():
    peer, tenant, device, *forms = sys.argv[1:]
    sender = Sender(peer, tenant, device, forms)

    def listen():
        for _ in sys.stdin:
            sender.injector.trigger(ApplicationEvent("next"))
        sender.injector.trigger(ApplicationEvent("leave"))

    threading.Thread(target=listen, daemon=True).start()
    Container(sender).run()


main()
