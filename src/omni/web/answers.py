"""How the dashboard answers a browser: headers that allow only our own files, and pages too small for a renderer.

Small pages (login, refusals, questions) are put together by hand, because anybody can ask for them: a stranger must not
be able to make the daemon load a template engine.

`Referrer-Policy` is same-origin and not no-referrer: under the latter a browser sends `Origin: null` with our own
forms, and the gate takes no such origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from starlette.responses import Response

from omni.notify.texts import Language
from omni.web.texts import HTML_LANGUAGE, say

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFE = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
NEVER_KEPT = {**SAFE, "cache-control": "no-store"}


def html(text: str, status: int = 200) -> Response:
    """A page, which no cache keeps."""
    return Response(text, status, NEVER_KEPT, "text/html")


def moved(where: str) -> Response:
    """On to another page of ours, after a change: loading that again changes nothing."""
    return Response(b"", 303, {**NEVER_KEPT, "location": where})


def small(language: Language, title: str, parts: Iterable[str]) -> str:
    """A small page; `title` is a text, `parts` are HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="{HTML_LANGUAGE[language]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)} · Omni</title>\n'
        '<link rel="icon" href="/static/icon.svg">\n<link rel="stylesheet" href="/static/omni.css">\n</head>\n'
        '<body class="small">\n<main id="main">\n'
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def trouble(language: Language, title: str, why: str = "", command: str = "", *, home: bool = True) -> str:
    """A small page about what is wrong, with the next command."""
    parts = [f"<p>{escape(why)}</p>"] if why else []
    parts += [f"<p>{escape(say(language, 'door.next', {}))} <code>{escape(command)}</code></p>"] if command else []
    parts += [f'<p><a href="/">{escape(say(language, "door.home", {}))}</a></p>'] if home else []
    return small(language, title, parts)


def form(action: str, label: str, fields: dict[str, str]) -> str:
    """A form of one button, which has the focus."""
    hidden = (f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in fields.items())
    button = f'<button type="submit" class="primary" autofocus>{escape(label)}</button>'
    return f'<form method="post" action="{escape(action)}">{"".join(hidden)}{button}</form>'
