"""Who does a task, on which model: candidates, rejections and scores, so that `omni why` can tell the whole story.

Theory of operation. Every configured executor is a candidate and gets a score or a rejection. In order of weight:

    named by the client          only that one, whatever it is good at
    keywords that occur          KEYWORD, a little more for each further one: the owner's own words outweigh our guess
    its `types` hold the kind    FITS
    it takes general work        STANDS_IN: the next best when nobody fits, and the reason says so
    local, and the task asks     LOCAL

The highest score wins; a tie goes to the order of the configuration. An executor that is known to be down is
rejected; one that has not been heard of yet is not, for its first report comes within seconds and the task waits for
it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from omni.domain.intent import Intent
from omni.domain.values import (
    Candidate,
    ExecutorHealth,
    ExecutorSpec,
    Mode,
    Route,
    RoutingSettings,
    TaskSpec,
    Tier,
)

KEYWORD = 120
FURTHER_KEYWORD = 5
FITS = 100
STANDS_IN = 40
LOCAL = 15
GENERAL = "general"


class Choice(msgspec.Struct, frozen=True):
    """A routing decision; `route` is None when nobody can do it, and `reason` says why."""

    kind: str
    complexity: int
    route: Route | None
    reason: str
    candidates: tuple[Candidate, ...]
    signals: tuple[str, ...]


def choose(
    spec: TaskSpec,
    intent: Intent,
    settings: RoutingSettings,
    health: Mapping[str, ExecutorHealth],
    mode: Mode = "NORMAL",
) -> Choice:
    """Weigh every executor for a task and name the best one that can be used."""
    kind = spec.type or intent.kind
    text = spec.description.casefold()
    candidates = tuple([_weigh(e, spec, kind, text, intent, health.get(e.name), mode) for e in settings.executors])
    best = _best(candidates)
    signals = ("type named by the client",) if spec.type else intent.signals
    if best is None:
        return Choice(kind, intent.complexity, None, _nobody(spec, kind, candidates), candidates, signals)
    tier, model, why_model = model_for(spec, intent.complexity, settings)
    reason = f"{best.executor}: {', '.join(best.reasons)}{_instead_of(best, candidates)}; {why_model}"
    return Choice(kind, intent.complexity, Route(best.executor, tier, model, mode), reason, candidates, signals)


def model_for(spec: TaskSpec, complexity: int, settings: RoutingSettings) -> tuple[str, str, str]:
    """Pick (tier, model, reason): the cheapest tier for simple work, the next one for complex work."""
    if not settings.tiers:
        return spec.tier or "", spec.model or "", "no model tiers configured"
    heavy = complexity >= settings.complexity_threshold
    tier, why = _tier(spec, heavy=heavy, settings=settings)
    model = spec.model or (tier.heavy_model if heavy else tier.light_model) or tier.light_model or tier.heavy_model
    comparison = f"complexity {complexity} {'≥' if heavy else '<'} {settings.complexity_threshold}"
    return tier.name, model, f"{tier.name} ({why or comparison})"


def unusable(executor: ExecutorSpec, health: ExecutorHealth | None, mode: Mode = "NORMAL") -> str:
    """Say why an executor can take nothing now; empty when it can, or when its first report is still to come."""
    if executor.unavailable:
        return executor.unavailable
    if mode == "BRAINSTEM" and executor.needs_cloud:
        return "the cloud is offline and it needs the cloud"
    if health is not None and health.state in {"failed", "paused"}:
        return f"{health.state}: {health.reason}" if health.reason else health.state
    return ""


def _weigh(
    executor: ExecutorSpec,
    spec: TaskSpec,
    kind: str,
    text: str,
    intent: Intent,
    health: ExecutorHealth | None,
    mode: Mode,
) -> Candidate:
    reasons: list[str] = []
    score = _merit(executor, spec, kind, text, intent, reasons)
    rejected = unusable(executor, health, mode)
    if not rejected and spec.executor and spec.executor != executor.name:
        rejected = f"the client named {spec.executor}"
    if not rejected and score <= 0:
        rejected = f"does not take {kind} work" + (" unless a keyword occurs" if executor.keywords else "")
    return Candidate(executor.name, score, tuple(reasons), rejected)


def _merit(executor: ExecutorSpec, spec: TaskSpec, kind: str, text: str, intent: Intent, reasons: list[str]) -> int:
    score = 0
    if spec.executor == executor.name:
        score += FITS
        reasons.append("named by the client")
    if kind in executor.types or _capable(executor, kind):
        score += FITS
        reasons.append(f"takes {kind} work")
    elif GENERAL in executor.types:
        score += STANDS_IN
        reasons.append(f"takes general work, stands in for {kind}")
    if executor.keywords and (hits := keywords_in(text, executor.keywords)):
        score += KEYWORD + FURTHER_KEYWORD * (len(hits) - 1)
        reasons.append("keyword " + ", ".join(hits))
    if score and executor.local and intent.local:
        score += LOCAL
        reasons.append("local, as the task asks")
    return score


def keywords_in(text: str, keywords: tuple[str, ...]) -> list[str]:
    """Which keywords occur; names of commands such as `disk_report` are also found when written as words."""
    return [k for k in keywords if (word := k.casefold()) in text or word.replace("_", " ") in text]


def _capable(executor: ExecutorSpec, kind: str) -> bool:
    return (kind == "always_on" and executor.always_on) or (kind == "gpu" and executor.gpu)


def _best(candidates: tuple[Candidate, ...]) -> Candidate | None:
    best = None
    for each in candidates:
        if not each.rejected and (best is None or each.score > best.score):  # the first of equals: configuration order
            best = each
    return best


def _instead_of(best: Candidate, candidates: tuple[Candidate, ...]) -> str:
    """Name a better executor that was out of the running, so that a stand-in never looks like the first choice."""
    better = [c for c in candidates if c.score > best.score and c.rejected]
    if not better:
        return ""
    first = max(better, key=lambda c: c.score)
    return f"; instead of {first.executor} ({first.rejected})"


def _nobody(spec: TaskSpec, kind: str, candidates: tuple[Candidate, ...]) -> str:
    if not candidates:
        return "no executor is configured"
    if spec.executor:
        why = next((c.rejected for c in candidates if c.executor == spec.executor), "it is no longer configured")
        return f"{spec.executor} was named, but cannot be used ({why})"
    reasons = "; ".join(f"{c.executor}: {c.rejected}" for c in candidates)
    return f"no executor can take this {kind} task ({reasons})"


def _tier(spec: TaskSpec, *, heavy: bool, settings: RoutingSettings) -> tuple[Tier, str]:
    for tier in settings.tiers if spec.tier is not None else ():
        if tier.name == spec.tier:
            return tier, "named by the client"
    for tier in settings.tiers if heavy else ():
        if tier.paid:
            return tier, ""
    return settings.tiers[0], ""
