"""What kind of work a task description asks for, and how complex it is. Pure: the same text, the same answer."""

from __future__ import annotations

import re

import msgspec

_KINDS = {
    "coding": r"\b(?:code|script|bug|function|refactor|unit tests?|sql|regex|repo|api|traceback)\b|代码|脚本|报错|重构|函数|接口",
    "always_on": r"\b(?:every (?:hour|day|\d+ minutes)|24/7|keep \w+ running|monitor)\b|每小时|每天|一直|盯着|守着|7x24",
    "gpu": r"\b(?:fine-?tune|render|transcode|upscale|gpu|lora)\b|微调|渲染|显卡|转码|训练",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}
_LOCAL = re.compile(r"\b(?:locally|on my (?:mac|machine))\b|本地|本机")


class Intent(msgspec.Struct, frozen=True):
    kind: str  # "coding" | "general" | "always_on" | "gpu"
    complexity: int  # 0–100
    signals: tuple[str, ...]
    local: bool


def classify(text: str) -> Intent:
    """The kind of work with the most evidence; `general` when there is none."""
    looked_at = text[:2000].casefold()
    hits = {kind: pattern.findall(looked_at) for kind, pattern in _PATTERNS.items()}
    kind = max(hits, key=lambda k: len(hits[k]))
    kind = kind if hits[kind] else "general"
    signals = tuple(f"{k}: '{word}'" for k, words in hits.items() for word in words)
    return Intent(kind, min(100, 10 + len(looked_at) // 10), signals, bool(_LOCAL.search(looked_at)))
