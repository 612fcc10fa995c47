"""Keys for the model port: one for each attempt, and long-lived ones for clients that can take no other.

Theory of operation. A key says whom it is for and proves it with an HMAC over that, under a secret of this data
directory; nothing is stored, and a restart changes nothing. Whether the attempt is still open is not the key's
business: the Router turns down calls of attempts that have ended.

    omni-a-<task id>-<n>-<32 hex>      the n-th attempt at a task
    omni-d-<task id>-<n>-<32 hex>      the same, for one that must not go through the proxy: it is there to mend it
    omni-c-<name>-<32 hex>             a client with that name
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

import msgspec

from omni.domain.errors import ConfigError
from omni.drafts import draft

FILE_NAME = "model.key"
SECRET_BYTES = 32
MAC_CHARS = 32
LONGEST_KEY = 256
_ATTEMPT = re.compile(r"omni-(a|d)-([0-9A-Za-z-]{1,64})-([1-9][0-9]{0,5})")
_CLIENT = re.compile(r"omni-c-([0-9A-Za-z][0-9A-Za-z._-]{0,63})")
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")


class Holder(msgspec.Struct, frozen=True):
    """Whom a key is for: an attempt (`task_id`, `n`), or a client by name. `direct`: never through the proxy."""

    task_id: str = ""
    n: int = 0
    client: str = ""
    direct: bool = False


OWNER = Holder(client="owner")  # whoever shows the daemon's own token


class ModelKeys:
    """Makes and checks keys. Safe on any thread."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, data_dir: Path) -> ModelKeys:
        """The keys of a data directory; its secret is made at the first start. Raises ConfigError."""
        return cls(read_secret(data_dir / FILE_NAME))

    def attempt_key(self, task_id: str, n: int, *, direct: bool = False) -> str:
        """The key of one attempt; always the same for the same one. `direct`: its calls never go through the proxy."""
        return self._signed(f"omni-{'d' if direct else 'a'}-{task_id}-{n}")

    def client_key(self, name: str) -> str:
        """The key of a client with this name. Raises ConfigError for a name that is none."""
        if not _NAME.fullmatch(name):
            hint = "use letters, digits, dots, dashes and underscores, at most 64"
            raise ConfigError(f"{name!r} cannot be the name of a client", hint=hint)
        return self._signed(f"omni-c-{name}")

    def check(self, key: str) -> Holder | None:
        """Whom a key is for, None when it is not one of ours; takes the same time however much of it is right."""
        if len(key) > LONGEST_KEY or not key.isascii():
            return None
        claim, _, _ = key.rpartition("-")
        if not hmac.compare_digest(self._signed(claim), key):
            return None
        if match := _ATTEMPT.fullmatch(claim):
            return Holder(task_id=match[2], n=int(match[3]), direct=match[1] == "d")
        return Holder(client=match[1]) if (match := _CLIENT.fullmatch(claim)) else None

    def _signed(self, claim: str) -> str:
        mac = hmac.new(self._secret, claim.encode(), hashlib.sha256).hexdigest()
        return f"{claim}-{mac[:MAC_CHARS]}"


def read_secret(path: Path) -> bytes:
    """The secret in a file that only its owner can read; made when there is none. Raises ConfigError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"the secret {path} can be read by others (mode {mode:04o})",
            hint=f"rm {path}, then start again: a new one is made, and clients need new keys",
        )
    try:
        secret = bytes.fromhex(path.read_text("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{path} holds no usable secret", hint=f"rm {path}, then start again: a new one is made")
    return secret


def _make(path: Path) -> None:
    """Write a new secret in one step; a process that dies over it leaves none, never half of one."""
    with draft(path, secrets.token_hex(SECRET_BYTES) + "\n") as fresh, contextlib.suppress(FileExistsError):
        os.link(fresh, path)  # where somebody was quicker, theirs counts
