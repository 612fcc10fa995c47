"""What a form sends: bounded in size and time, each field once."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import Request

MOST_BYTES = 8192
MOST_FIELDS = 8
WITHIN_S = 10.0


class BadForm(Exception):
    """This is no form of ours."""


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises BadForm when it is too large, too slow, or not what our pages send."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm(f"a form was expected, not {kind or 'nothing'}")
    try:
        body = await asyncio.wait_for(_body(request), WITHIN_S)
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except (TimeoutError, ValueError) as error:
        raise BadForm("the form cannot be read") from error
    if len(dict(pairs)) != len(pairs):
        raise BadForm("a field stands twice in the form")
    return dict(pairs)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise BadForm("the form is too large")
    return bytes(body)
