"""The WebSocket protocol without I/O: bytes in, events out; events in, bytes out.

`ServerHandshake` and `ClientHandshake` open a connection; `Machine` is one side of it from then
on. Nothing here knows a socket, a clock, or an event loop.
"""

from .deflate import DeflateParameters, InflatedTooBig, InflateError, PerMessageDeflate
from .extensions import Extension, format_extensions, parse_extensions
from .frames import FrameHeader, Opcode, Violation, encode_frame, parse_header
from .handshake import BadRequest, BadResponse, ClientHandshake, Negotiated, ServerHandshake
from .http import Headers, Request, Response
from .machine import Close, Event, Failure, LocalProtocolError, Machine, Part, Ping, Pong
from .masking import MaskedPayload, MaskingKeys, mask
from .prepared import Prepared, PreparedRun

__all__ = [
    "BadRequest",
    "BadResponse",
    "ClientHandshake",
    "Close",
    "DeflateParameters",
    "Event",
    "Extension",
    "Failure",
    "FrameHeader",
    "Headers",
    "InflateError",
    "InflatedTooBig",
    "LocalProtocolError",
    "Machine",
    "MaskedPayload",
    "MaskingKeys",
    "Negotiated",
    "Opcode",
    "Part",
    "PerMessageDeflate",
    "Ping",
    "Pong",
    "Prepared",
    "PreparedRun",
    "Request",
    "Response",
    "ServerHandshake",
    "Violation",
    "encode_frame",
    "format_extensions",
    "mask",
    "parse_extensions",
    "parse_header",
]
