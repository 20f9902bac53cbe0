"""Receives from AMQP 1.0 addresses with qpid-proton and tells every message as a line of JSON, with the type of each value.

    receiver.py HOST:PORT BEHAVIOUR ADDRESS...

BEHAVIOUR is accept, reject[:CONDITION], release, modify, modify-undeliverable, none (never settles) or no-credit. "ready" is
written once all links are attached. It ends with its standard input.
"""

import json
import sys
import threading

from proton import Condition, Data, Delivery
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

SECTIONS = {
    0x70: "header",
    0x71: "delivery-annotations",
    0x72: "message-annotations",
    0x73: "properties",
    0x74: "application-properties",
    0x75: "data",
    0x76: "amqp-sequence",
    0x77: "amqp-value",
    0x78: "footer",
}
FIELDS = {
    "header": ["durable", "priority", "ttl", "first-acquirer", "delivery-count"],
    "properties": [
        "message-id",
        "user-id",
        "to",
        "subject",
        "reply-to",
        "correlation-id",
        "content-type",
        "content-encoding",
        "absolute-expiry-time",
        "creation-time",
        "group-id",
        "group-sequence",
        "reply-to-group-id",
    ],
}
TYPES = {
    Data.NULL: "null",
    Data.BOOL: "boolean",
    Data.UBYTE: "ubyte",
    Data.BYTE: "byte",
    Data.USHORT: "ushort",
    Data.SHORT: "short",
    Data.UINT: "uint",
    Data.INT: "int",
    Data.CHAR: "char",
    Data.ULONG: "ulong",
    Data.LONG: "long",
    Data.TIMESTAMP: "timestamp",
    Data.FLOAT: "float",
    Data.DOUBLE: "double",
    Data.UUID: "uuid",
    Data.BINARY: "binary",
    Data.STRING: "string",
    Data.SYMBOL: "symbol",
}


def children(data):
    """The values inside the value at which `data` stands."""
    data.enter()
    decoded = []
    while data.next():
        decoded.append(value(data))
    data.exit()
    return decoded


def value(data):
    """The value at which `data` stands, as an object of one member that names its type."""
    kind = data.type()
    if kind == Data.MAP:
        decoded = children(data)
        return {"map": [list(entry) for entry in zip(decoded[::2], decoded[1::2])]}
    if kind == Data.LIST:
        return {"list": children(data)}
    if kind == Data.DESCRIBED:
        return {"described": children(data)[1]}
    if kind in (Data.BINARY, Data.UUID):
        raw = data.get_object()
        return {TYPES[kind]: raw.hex() if kind == Data.BINARY else raw.bytes.hex()}
    plain = data.get_object()
    if kind in (Data.STRING, Data.SYMBOL, Data.CHAR):
        plain = str(plain)
    elif kind == Data.BOOL:
        plain = bool(plain)
    elif kind in (Data.FLOAT, Data.DOUBLE):
        plain = float(plain)
    elif kind != Data.NULL:
        plain = int(plain)
    return {TYPES.get(kind, f"type {kind}"): plain}


def key(decoded):
    return next(iter(decoded.values()))


def sections(raw):
    """All sections of an encoded message."""
    decoded = {"order": []}
    while raw:
        data = Data()
        raw = raw[data.decode(raw):]
        data.rewind()
        data.next()
        data.enter()
        data.next()
        name = SECTIONS[data.get_ulong()]
        data.next()
        content = value(data)
        data.exit()
        if name in FIELDS:
            values = zip(FIELDS[name], content["list"])
            content = {field: item for field, item in values if item != {"null": None}}
        elif "map" in content:
            content = {key(name): item for name, item in content["map"]}
        decoded[name] = content
        decoded["order"].append(name)
    return decoded


class Receiver(MessagingHandler):
    def __init__(self, peer, behaviour, addresses, end):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        # The default handler would decode the message itself; here the bytes are wanted.
        self.handlers.clear()
        self.peer, self.behaviour, self.addresses, self.end = peer, behaviour, addresses, end
        self.attached = 0
        self.connection = None

    def on_reactor_init(self, event):
        event.reactor.selectable(self.end)
        self.connection = event.container.connect(f"amqp://{self.peer}", reconnect=False)

    def on_connection_init(self, event):
        event.connection.open()

    def on_connection_remote_open(self, event):
        for address in self.addresses:
            event.container.create_receiver(self.connection, address)

    def on_link_remote_open(self, event):
        if self.behaviour != "no-credit":
            event.link.flow(1000)
        self.attached += 1
        if self.attached == len(self.addresses):
            tell("ready")

    def on_link_remote_close(self, event):
        tell({"closed": event.link.source.address, "condition": str(event.link.remote_condition)})

    def on_transport_error(self, event):
        tell({"lost": str(event.transport.condition)})

    def on_connection_remote_close(self, event):
        tell({"closed": self.peer, "condition": str(event.connection.remote_condition)})

    def on_delivery(self, event):
        delivery, link = event.delivery, event.link
        if not delivery.readable or delivery.partial:
            return
        raw = link.recv(delivery.pending)
        link.advance()
        decoded = sections(raw)
        decoded["link"] = link.source.address
        decoded["sender_settled"] = delivery.settled
        tell(decoded)
        self.settle(delivery)
        if self.behaviour != "no-credit":
            link.flow(1)

    def settle(self, delivery):
        behaviour, _, condition = self.behaviour.partition(":")
        if behaviour == "none":
            return
        if behaviour == "reject" and condition:
            delivery.local.condition = Condition(condition, "no thanks")
        if behaviour == "modify":
            delivery.local.failed = True
        if behaviour == "modify-undeliverable":
            delivery.local.undeliverable = True
        delivery.update(
            {
                "accept": Delivery.ACCEPTED,
                "reject": Delivery.REJECTED,
                "release": Delivery.RELEASED,
                "modify": Delivery.MODIFIED,
                "modify-undeliverable": Delivery.MODIFIED,
            }[behaviour]
        )
        delivery.settle()

    def on_end(self, event):
        self.connection.close()
        event.container.stop()


def tell(what):
    print(json.dumps(what), flush=True)


def watch(end):
    sys.stdin.buffer.read()
    end.trigger(ApplicationEvent("end"))


def main():
    peer, behaviour, *addresses = sys.argv[1:]
    end = EventInjector()
    threading.Thread(target=watch, args=(end,), daemon=True).start()
    Container(Receiver(peer, behaviour, addresses, end)).run()


main()
