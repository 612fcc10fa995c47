"""Takes secrets out of text and values before they reach a log line or the event log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MASK = "***"
MIN_SECRET_CHARS = 6
MAX_DEPTH = 200

# Without one of these words no pattern below can match. One character decides whether to look for its words:
# a search for a single character costs a third of a search for a word.
_HINTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("-", ("sk-", "glpat-", "xox", "xapp-", "omni-a-", "omni-c-", "-----BEGIN")),
    ("_", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_")),
    ("I", ("AKIA", "ASIA", "AIza")),
    ("J", ("eyJ",)),
    ("@", ("@",)),
    ("earer", ("earer",)),
    ("EARER", ("EARER",)),
    ("asic ", ("asic ",)),
)
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_TOKENS = re.compile(
    r"""
    (?P<lead>(?<![A-Za-z0-9])(?i:bearer)\s+|(?i:authorization["']?\s*[:=]\s*["']?basic)\s+)[A-Za-z0-9._~+/=\-]{6,}
    | (?<![A-Za-z0-9])(?P<run>eyJ[A-Za-z0-9_\-]{5,})(?P<jwt>\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?)?
    | (?<![A-Za-z0-9])(?:
        sk-[A-Za-z0-9_\-]{8,}
      | gh[opsur]_[A-Za-z0-9]{8,}
      | github_pat_[A-Za-z0-9_]{8,}
      | glpat-[A-Za-z0-9_\-]{8,}
      | xox[a-z]-[A-Za-z0-9\-]{8,}
      | xapp-[A-Za-z0-9\-]{8,}
      | (?:AKIA|ASIA)[A-Z0-9]{12,}
      | AIza[A-Za-z0-9_\-]{20,}
      | hf_[A-Za-z0-9]{16,}
      | omni-[ac]-[A-Za-z0-9._~:+/=\-]{8,}
      )
    | (?P<scheme>://)[^/\s@]+(?=@)
    """,
    re.VERBOSE,
)


# Values under these names are secret, whatever they are. Not `key` and `token`: our own events use them.
_SECRET_KEYS = frozenset({
    "authorization", "proxy-authorization", "api_key", "apikey", "api-key", "x-api-key", "password", "passwd",
    "secret", "client_secret", "access_token", "refresh_token", "private_key", "cookie", "set-cookie",
})  # fmt: skip


class Redactor:
    """Masks known secrets and what looks like one: Bearer tokens, JWTs, PEM blocks, keys with a known prefix.

    Known secrets shorter than six characters are left alone: masking them would tear ordinary text apart.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: tuple[str, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on; what was secret once stays so."""
        known = {form for each in secrets if len(each) >= MIN_SECRET_CHARS for form in _forms(each)} | {*self._known}
        # Longest first, so that a secret which contains another is masked whole.
        self._known = tuple(sorted(known, key=lambda each: (-len(each), each)))

    def text(self, text: str) -> str:
        """The text with every secret replaced by `***`."""
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, MASK)
        return _TOKENS.sub(_keep_lead, _PEM.sub(MASK, text)) if _may_hold_token(text) else text

    def value(self, value: Any) -> Any:
        """The JSON value with every secret in its texts and keys replaced; the value given is not changed."""
        return self._value(value, MAX_DEPTH)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if depth == 0:
            return MASK if isinstance(value, dict | list | tuple) else value
        if isinstance(value, dict):
            return {self._key(key): self._under(key, each, depth - 1) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._value(each, depth - 1) for each in value]
        return self.text(value.decode("utf-8", "replace")) if isinstance(value, bytes) else value

    def _under(self, key: Any, value: Any, depth: int) -> Any:
        if isinstance(value, str) and value and isinstance(key, str) and key.lower() in _SECRET_KEYS:
            return MASK
        return self._value(value, depth)

    def _key(self, key: Any) -> Any:
        return self.text(key) if isinstance(key, str) else key


def _may_hold_token(text: str) -> bool:
    for first, words in _HINTS:
        if first in text:
            for word in words:
                if word in text:
                    return True
    return False


def _forms(secret: str) -> set[str]:
    # A secret also travels escaped: in JSON text and in URLs.
    import json
    from urllib.parse import quote

    return {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe=""),
    }


def _keep_lead(match: re.Match[str]) -> str:
    # A run without a dot is no JWT. It is matched all the same, so that no text makes the search quadratic.
    if match["run"] and not match["jwt"]:
        return match[0]
    return (match["lead"] or match["scheme"] or "") + MASK
