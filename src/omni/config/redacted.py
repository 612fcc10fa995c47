"""The configuration as it may be shown and logged, and a hash that changes with its secrets too."""

from __future__ import annotations

from typing import Any

import msgspec

from omni.config.model import Config
from omni.config.problems import Path
from omni.config.variables import is_secret_path
from omni.redact import MASK, Redactor

_PATTERNS_ONLY = Redactor(())


def redacted(config: Config) -> dict[str, Any]:
    """The configuration as JSON values, "***" for each secret and each value from a variable."""
    body: dict[str, Any] = _mask(msgspec.to_builtins(config), (), frozenset(config.secret_paths), [])
    return body


def config_hash(config: Config) -> str:
    """A SHA-256 that changes with every key, secrets included, and gives none of them away."""
    import hashlib

    hidden: list[str] = []
    body = _mask(msgspec.to_builtins(config), (), frozenset(config.secret_paths), hidden)
    digest = hashlib.sha256(msgspec.json.encode(body, order="sorted"))
    for secret in hidden:
        digest.update(hashlib.sha256(secret.encode()).digest())
    return digest.hexdigest()


def _mask(value: Any, path: Path, from_variables: frozenset[str], hidden: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _mask(value[key], (*path, key), from_variables, hidden) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_mask(each, (*path, index), from_variables, hidden) for index, each in enumerate(value)]
    if not isinstance(value, str) or not value:
        return value
    clean = _PATTERNS_ONLY.text(value)
    if "/".join(map(str, path)) in from_variables or is_secret_path(path):
        clean = MASK
    if clean != value:
        hidden.append(value)
    return clean
