"""A device on aiocoap, over UDP without security.

python client.py discover SERVER QUERY...     prints the links of each filtered discovery
python client.py no-response SERVER PATH      sends a CON that wants no response, then another that does
python client.py upload SERVER PATH LENGTH    sends a body in blocks
"""

import asyncio
import sys

from aiocoap import Context, Message
from aiocoap.numbers.codes import GET, PUT
from aiocoap.numbers.contentformat import ContentFormat

TEXT = ContentFormat(0)


def put(uri, payload):
    return Message(code=PUT, uri=uri, payload=payload, content_format=TEXT)


async def discover(context, server, *queries):
    for query in queries:
        uri = f"coap://{server}/.well-known/core?{query}"
        response = await context.request(Message(code=GET, uri=uri)).response
        print(query, str(response.code).split()[0], response.payload.decode())


async def no_response(context, server, path):
    uri = f"coap://{server}/{path}"
    # All classes of responses are unwanted (RFC 7967).
    unwanted = put(uri, b"unwanted")
    unwanted.opt.no_response = 26
    try:
        await asyncio.wait_for(context.request(unwanted).response, 5)
        print("a response")
    except asyncio.TimeoutError:
        print("no response")
    response = await context.request(put(uri, b"wanted")).response
    print(str(response.code).split()[0])


async def upload(context, server, path, length):
    body = b"p" * int(length)
    response = await context.request(put(f"coap://{server}/{path}", body)).response
    print(str(response.code).split()[0])


async def main():
    what, *words = sys.argv[1:]
    parts = {
        "discover": discover,
        "no-response": no_response,
        "upload": upload,
    }
    context = await Context.create_client_context()
    await parts[what](context, *words)
    await context.shutdown()


asyncio.run(asyncio.wait_for(main(), 30))
