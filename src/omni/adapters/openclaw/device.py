"""Who we are to a gateway elsewhere: an Ed25519 key of our own, and the token that pairing gave us.

Both lie in the adapter's directory, readable by its owner only. The key never leaves it; the gateway gets the public
half and a signature over what it asked (payload version 3 of OpenClaw's device protocol, or 2 for older gateways).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from omni.adapters.records import store
from omni.domain.errors import ConfigError

KEY_FILE = "device.pem"
TOKEN_FILE = "device.token"  # noqa: S105 - a file's name


class Device:
    """One device identity, kept in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = self._load()
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(raw).hexdigest()
        self.public_key = _unpadded(raw)

    @property
    def token(self) -> str:
        """The token that pairing gave; empty before."""
        try:
            return (self._directory / TOKEN_FILE).read_text("utf-8").strip()
        except FileNotFoundError:
            return ""

    def keep_token(self, token: str) -> None:
        """Make the token durable."""
        if token and token != self.token:
            store(self._directory / TOKEN_FILE, token.encode())

    def forget_token(self) -> None:
        """A token that was refused opens nothing."""
        (self._directory / TOKEN_FILE).unlink(missing_ok=True)

    def sign(
        self,
        *,
        client: str,
        mode: str,
        role: str,
        scopes: Sequence[str],
        token: str,
        nonce: str,
        ts: int,
        platform: str,
        aged: bool = False,
    ) -> dict[str, object]:
        """What `connect` carries as `device`, over the challenge that the gateway set."""
        common = (self.id, client, mode, role, ",".join(scopes), str(ts), token, nonce)
        parts = ("v2", *common) if aged else ("v3", *common, platform, "")
        signature = self._key.sign("|".join(parts).encode())
        return {
            "id": self.id,
            "publicKey": self.public_key,
            "signature": _unpadded(signature),
            "signedAt": ts,
            "nonce": nonce,
        }

    def _load(self) -> Ed25519PrivateKey:
        path = self._directory / KEY_FILE
        if not path.exists():
            key = Ed25519PrivateKey.generate()
            store(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        try:
            found = load_pem_private_key(path.read_bytes(), None)
        except ValueError as error:
            raise _unreadable(path) from error
        if not isinstance(found, Ed25519PrivateKey):
            raise _unreadable(path)
        return found


def _unreadable(path: Path) -> ConfigError:
    return ConfigError(f"the device key in {path} cannot be read: remove it, then approve this device anew")


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
