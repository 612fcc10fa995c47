"""Text and money as people may see them: what comes from outside hides nothing and reorders nothing."""

from __future__ import annotations

_TURNS = (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))  # they reorder what a person reads
_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\n\t"}
_CONTROLS |= {c: f"\\u{c:04x}" for c in _TURNS}
JSON_CONTROLS = {c: f"\\u{c:04x}" for c in (*range(127, 160), *_TURNS)}  # JSON itself escapes only those below 32


def clean(text: str) -> str:
    """Text from outside with its control characters made visible."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Text as a single clean line."""
    return clean(" ".join(text.split()))


def usd(amount: float) -> str:
    """An amount of money: cents, and below ten of them as much as matters."""
    return f"${amount:.2f}" if amount >= 0.1 or not amount else f"${amount:.4f}"
