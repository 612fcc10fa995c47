"""Large strings leave their JSON for a blob table, so that they can be erased while the chain stays valid.

A body or input above 16 KiB is searched for strings above 1 KiB. Each goes to `blobs` under its sha256 and leaves an
empty string behind; the row opens with a list of what was taken out, and that stub is what the chain hashes:

    {"$blob": [{"at": ["spec", "prompt"], "sha256": "…", "bytes": 40960}],
     "type": "task.created", "spec": {"prompt": ""}}

Strings leave, structure stays: what the rules decide by is still there after an erasure, so the log still folds. An
erased string reads as `erased_text(...)`. JSON that is no object leaves as a whole, with an empty `at`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

LARGE_BYTES: Final = 16 * 1024
STRING_BYTES: Final = 1024
DEPTH_LIMIT: Final = 128
STUB_OPENING: Final = '{"$blob":['

Blobs = dict[bytes, bytes]
Fetch = Callable[[bytes], bytes | None]

_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class Taken(msgspec.Struct, frozen=True):
    """One string that was taken out: where it was and what it hashed to."""

    at: tuple[str | int, ...]
    sha256: str
    bytes: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def erased_text(sha256: str, size_bytes: int) -> str:
    """Return what stands in the place of a string that was erased."""
    return f"[erased: {size_bytes} bytes, sha256 {sha256}]"


def is_stub(text: object) -> bool:
    """Tell whether strings were taken out of this JSON; false for what damage has made of a text."""
    return isinstance(text, str) and text.startswith(STUB_OPENING)


def take_out(text: str, blobs: Blobs) -> str:
    """Return the stub of a large JSON text and add what left it to `blobs`; a small text returns as it is.

    A text that already looks like a stub is always treated as large, so none can be forged from outside.
    """
    if not is_stub(text) and len(text) <= LARGE_BYTES and len(text.encode()) <= LARGE_BYTES:
        return text
    tree = _decode(text)
    taken: list[Taken] = []
    if not isinstance(tree, dict) or "$blob" in tree:
        taken.append(_keep((), text, blobs))
        tree = {}
    else:
        _search(tree, (), taken, blobs)
    return _encode({"$blob": taken, **tree}).decode() if taken else text


def put_back(text: str, fetch: Fetch) -> str:
    """Return the whole JSON for a stub; erased strings are replaced by a text that says so."""
    tree = _decode(text)
    for part in msgspec.convert(tree.pop("$blob"), list[Taken]):
        content = fetch(bytes.fromhex(part.sha256))
        if not part.at:
            return _encode(erased_text(part.sha256, part.bytes)).decode() if content is None else content.decode()
        value = erased_text(part.sha256, part.bytes) if content is None else content.decode()
        _put(tree, part.at, value)
    return _encode(tree).decode()


def hashes_in(text: str) -> list[bytes]:
    """Return the hashes of all that was taken out of a stub."""
    return [bytes.fromhex(part.sha256) for part in msgspec.convert(_decode(text)["$blob"], list[Taken])]


def is_too_deep(text: str) -> bool:
    """Tell whether JSON nests deeper than a reader with a half-used stack can follow.

    Counting brackets is exact enough for nearly every text; only the rest is walked.
    """
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return False
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEPTH_LIMIT


def _search(node: Any, at: tuple[str | int, ...], taken: list[Taken], blobs: Blobs) -> None:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(items):
        if isinstance(value, str) and len(value.encode()) > STRING_BYTES:
            taken.append(_keep((*at, key), value, blobs))
            node[key] = ""
        elif isinstance(value, (dict, list)):
            _search(value, (*at, key), taken, blobs)


def _keep(at: tuple[str | int, ...], text: str, blobs: Blobs) -> Taken:
    content = text.encode()
    digest = hashlib.sha256(content)
    blobs[digest.digest()] = content
    return Taken(at, digest.hexdigest(), len(content))


def _put(tree: Any, at: tuple[str | int, ...], value: str) -> None:
    for key in at[:-1]:
        tree = tree[key]
    tree[at[-1]] = value
