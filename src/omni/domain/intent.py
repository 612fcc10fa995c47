"""What kind of work a task description asks for, and how complex it is (ADR-0015).

Theory. The text is read once (`reading`) for known words (`lexicon`) and shapes no list holds (`shapes`). What was
found is evidence; two tables weigh it: `WORDS` gives points for each word of an idea, `RULES` for ideas that stand
together or against each other. Each kind has a score; the one that clears its bar by most wins, and `general` wins
when none does. Three thoughts settle most near misses: idioms swallow the words in them; what is to be handed over
says more than what is spoken of (a CUDA kernel is code, an email about code is prose); and a standing duty or a heavy
computation outweighs the software it names unless that software is to be changed.

Pure and bounded: only the head and the tail of a long text are looked at, and every pattern runs in linear time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from omni.domain import complexity
from omni.domain.complexity import Evidence

BARS = {"always_on": 35, "gpu": 35, "coding": 30}  # a kind must reach its bar; ties go to the first


class Intent(msgspec.Struct, frozen=True):
    """What a description asks for; `signals` are the reasons, fit to be shown to a person."""

    kind: str  # "coding" | "general" | "always_on" | "gpu"
    complexity: int  # 0–100
    signals: tuple[str, ...]
    local: bool


def classify(text: str) -> Intent:
    """The kind of work a description asks for, its complexity, the reasons, and whether it is to run locally."""
    # Its hundreds of patterns take 60 ms to build: the first text pays for that, or whoever warms us up, not the start.
    from omni.domain.reading import read

    evidence = read(text)
    scores, signals = _weigh(evidence)
    signals.extend(f"near miss: '{word}'" for word in evidence.get("idiom", ())[:2])
    level, reasons = complexity.measure(evidence, len(text))
    return Intent(_decide(scores), level, (*signals, *reasons), "local" in evidence)


# ---- weighing --------------------------------------------------------------------------------------------------------


# idea, kind, points for the first word, points for each further one, how many count
WORDS = (
    ("code", "coding", 30, 20, 3),
    ("trace", "coding", 45, 10, 2),
    ("shape", "coding", 30, 10, 3),
    ("soft", "coding", 14, 14, 3),
    ("faint", "coding", 9, 9, 4),
    ("artefact", "coding", 8, 4, 2),
    ("sketch", "coding", 14, 8, 2),
    ("heavy", "gpu", 36, 10, 2),
    ("cuda", "gpu", 18, 12, 3),
    ("rig", "gpu", 8, 5, 3),
    ("standing", "always_on", 38, 14, 2),
    ("every", "always_on", 25, 0, 1),
    ("span", "always_on", 14, 0, 1),
    ("promise", "always_on", 25, 0, 1),
    ("tell_if", "always_on", 10, 0, 1),
    ("watch", "always_on", 12, 3, 2),
    ("stay", "always_on", 36, 0, 1),
    ("away", "always_on", 30, 0, 1),
    ("lives", "always_on", 14, 0, 1),
)


def _any(e: Evidence, *ideas: str) -> bool:
    for idea in ideas:  # noqa: SIM110 (a third of the time of `any`, and most of the work of weighing)
        if idea in e:
            return True
    return False


def _two_words(e: Evidence) -> bool:
    """A deed and a thing of software, not one word read twice ("merge")."""
    words = {word for idea in _THINGS + _DEEDS for word in e.get(idea, ())}
    return len(words) > 1 and _any(e, *_THINGS)


def _edits_files(e: Evidence) -> bool:
    return "shape" in e and "mend" in e


def _stands(e: Evidence) -> bool:
    """A duty in earnest, not a question about one."""
    earnest = ("watch", "tell_if", "span", "every", "away", "change")
    return _any(e, "promise", "deliver", "stay") or ("standing" in e and _any(e, *earnest))


def _wants_mending(e: Evidence) -> bool:
    """A question about given code, or one with an order beside it, is work on the code."""
    order = _any(e, "mend", "writes_code") and (_software(e) or "sketch" in e)
    return order or ("symptom" in e and _any(e, "shape", "trace"))


def _software(e: Evidence) -> bool:
    return "code" in e or "shape" in e or "trace" in e


_THINGS = ("soft", "faint", "artefact", "sketch")
_DEEDS = ("mend", "make", "symptom")
_RIVALS = ("talk", "standing", "stay", "every", "promise", "away", "cuda", "heavy")


def _always(_: Evidence) -> bool:
    return True


Rule: TypeAlias = tuple[str, str, int, str, Callable[[Evidence], bool]]
# reason, kind, points, the idea without which it does not hold ("": none), when
RULES: tuple[Rule, ...] = (
    ("something of software is to be made or mended", "coding", 16, "",
     lambda e: _any(e, "mend", "make", "symptom") and (_software(e) or _two_words(e))),
    ("software is named, nothing is to be done to it", "coding", -20, "",
     lambda e: not _any(e, "mend", "make", "trace") and _any(e, *_RIVALS)),
    ("software is only named", "coding", -8, "",
     lambda e: not _any(e, "mend", "make", "symptom", "trace", *_RIVALS)),
    ("a standing duty names it", "coding", -25, "",
     lambda e: _any(e, "standing", "stay") and not (_any(e, "writes_code", "code_only") or _edits_files(e))),
    ("what is handed over is code", "coding", 30, "writes_code", _always),
    ("only the code is wanted", "coding", 40, "code_only", _always),
    ("an everyday matter", "coding", -15, "everyday",
     lambda e: not _software(e) and not _any(e, "mend", "symptom")),
    ("an idiom", "coding", -10, "idiom", lambda e: not _software(e)),
    ("the answer is words", "coding", -40, "talk", lambda e: not _wants_mending(e)),
    ("what is handed over is prose", "coding", -60, "writes_prose", _always),
    ("the code stays as it is", "coding", -70, "hands_off", _always),
    ("a verb of computing with its material", "gpu", 28, "compute", lambda e: _any(e, "cuda", "heavy", "rig")),
    ("a picture or film is to be made", "gpu", 28, "depict", lambda e: "vision" in e),
    ("a machine or model with its material", "gpu", 10, "cuda", lambda e: "rig" in e),
    ("work for a named machine or model", "gpu", 20, "labour",
     lambda e: "compute" not in e and _any(e, "cuda", "heavy")),
    ("much material", "gpu", 16, "bulk", lambda e: "rig" in e and _any(e, "compute", "cuda", "heavy")),
    ("much material", "gpu", 12, "bulk", lambda e: "labour" in e and len(e.get("rig", ())) > 1),
    ("no verb of computing", "gpu", -20, "",
     lambda e: not _any(e, "compute", "heavy", "labour") and not ("cuda" in e and "rig" in e)),
    ("the code is ready, the run is the work", "gpu", 20, "hands_off",
     lambda e: _any(e, "cuda", "heavy", "compute", "labour")),
    ("what is handed over is code", "gpu", -60, "writes_code", lambda e: "hands_off" not in e),
    ("only the code is wanted", "gpu", -60, "code_only", _always),
    ("software is to be mended", "gpu", -30, "",
     lambda e: _any(e, "mend", "symptom") and _software(e) and "hands_off" not in e),
    ("the answer is words", "gpu", -40, "talk", lambda e: not ("heavy" in e and _any(e, "cuda", "rig"))),
    ("what is handed over is prose", "gpu", -70, "writes_prose", _always),
    ("it recurs and hands something over", "always_on", 14, "every", lambda e: _any(e, "deliver", "tell_if")),
    ("it waits for a change", "always_on", 10, "change",
     lambda e: _any(e, "watch", "promise", "tell_if", "every")),
    ("it watches and tells", "always_on", 8, "watch",
     lambda e: _any(e, "tell_if", "promise") and "change" in e),
    ("a watch with a time", "always_on", 10, "span",
     lambda e: _any(e, "watch", "promise", "tell_if", "lives")),
    ("what is handed over is code", "always_on", -60, "writes_code", _always),
    ("only the code is wanted", "always_on", -60, "code_only", _always),
    ("what is handed over is prose", "always_on", -20, "writes_prose",
     lambda e: not _any(e, "standing", "promise")),
    ("the answer is words", "always_on", -20, "talk", lambda e: not _stands(e)),
    ("software is to be mended", "always_on", -15, "mend", _software),
)  # fmt: skip


_WORDS_OF = {
    idea: [
        (kind, [(first + more * n, f"{kind}: '", f"' {first + more * n:+d}") for n in range(most)])
        for i, kind, first, more, most in WORDS
        if i == idea
    ]
    for idea in {w[0] for w in WORDS}
}
_RULES_OF = {
    kind: [(f"{kind}: {why} {points:+d}", points, idea, holds) for why, k, points, idea, holds in RULES if k == kind]
    for kind in BARS
}


def _weigh(evidence: Evidence) -> tuple[dict[str, int], list[str]]:
    scores = dict.fromkeys(BARS, 0)
    signals: list[str] = []
    for idea in evidence.keys() & _WORDS_OF.keys():
        words = evidence[idea]
        for kind, by_number in _WORDS_OF[idea]:
            points, before, after = by_number[min(len(words), len(by_number)) - 1]
            scores[kind] += points
            signals.append(before + words[0] + after)
    signals.sort()  # a set has no order, and the same text is to give the same reasons
    for kind, rules in _RULES_OF.items():
        score = scores[kind]
        if score <= 0:
            continue
        for signal, points, idea, holds in rules:
            if (not idea or idea in evidence) and holds(evidence):
                score += points
                signals.append(signal)
                if score <= 0:
                    break  # rules only weigh what words spoke for
        scores[kind] = score
    return scores, signals


def _decide(scores: dict[str, int]) -> str:
    best, margin = "general", -1
    for kind, bar in BARS.items():
        if scores[kind] - bar > margin:
            best, margin = kind, scores[kind] - bar
    return best
