"""The five ways an answer leaves: whole, cut short, reset before or midway, or never.

A call's outcome is set here, at the moment it becomes true: `paid` only when the kernel has taken
the answer's last byte and the connection still stands.
"""

import asyncio
import socket
import struct
from typing import Final, NoReturn

from aiohttp import web

from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.log import Call

_LINGER_0: Final = struct.pack("ii", 1, 0)  # close() then sends RST and drops what is buffered


class Dropped(ConnectionError):
    """The connection is gone, by us or by the client; the web server ends the call quietly."""


async def send(request: web.Request, answer: Answer, call: Call | None) -> web.StreamResponse:
    """Send a whole answer; raise ConnectionError when the client goes before its end."""
    response, transport = await _begin(request, answer, call)
    await response.write_eof(answer.body)
    if transport.is_closing():
        raise Dropped("the client went")
    if call is not None:
        call.outcome = answer.outcome
    return response


async def send_truncated(request: web.Request, answer: Answer, call: Call) -> NoReturn:
    """Send half of the body that Content-Length promises, then close in good order."""
    response, transport = await _begin(request, answer, call)
    await response.write(answer.body[: len(answer.body) // 2])
    call.outcome = "truncated"
    transport.close()
    raise Dropped("cut short")


async def send_reset(
    request: web.Request, answer: Answer | None, call: Call | None = None
) -> NoReturn:
    """Reset the connection: in the middle of the answer, or before it when there is none."""
    if answer is not None:
        response, transport = await _begin(request, answer, call)
        await response.write(answer.body[: len(answer.body) // 2])
    else:
        transport = _transport(request)
    if call is not None:
        call.outcome = "reset"
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()
    raise Dropped("reset")


async def hang(call: Call) -> NoReturn:
    """Never answer; ends by cancellation, when the client goes or the server stops."""
    call.outcome = "hang"
    await asyncio.Event().wait()
    raise Dropped("hung")


async def _begin(
    request: web.Request, answer: Answer, call: Call | None
) -> tuple[web.StreamResponse, asyncio.WriteTransport]:
    transport = _transport(request)
    # No buffer of ours: a write that returned is one that the kernel has taken.
    transport.set_write_buffer_limits(high=0)
    if call is not None:
        call.status, call.reason = answer.status, answer.reason
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    await response.prepare(request)
    return response, transport


def _transport(request: web.Request) -> asyncio.WriteTransport:
    transport = request.transport
    if not isinstance(transport, asyncio.WriteTransport) or transport.is_closing():
        raise Dropped("the client went")
    return transport
