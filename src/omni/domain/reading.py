"""From a text to evidence: which ideas are in it, and by which words (ADR-0015).

One pass cuts the text into words; a table says which ideas a word or a phrase stands for. A few shapes no table can
hold (times, promises, file names, stack traces) have patterns, and an English pattern is tried only where one of its
first words was met. Every pattern runs in linear time, and only the head and the tail of a long text are read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

from omni.domain import complexity, lexicon, shapes
from omni.domain.complexity import Evidence

HEAD_CHARS = 2000
TAIL_CHARS = 500

Ideas: TypeAlias = tuple[str, ...]
Phrase: TypeAlias = tuple[list[str], Ideas]  # the tokens after the second
Hit: TypeAlias = tuple[int, int, str, Ideas]  # first token, token after the last, words, ideas

_TOKENS = r"[a-z0-9_]+"
_STOP = r"[,.;:!?](?![a-z0-9])|[，。；：！？、\n]"
_STOPS = frozenset(",.;:!?，。；：！？、\n")

# ---- the tables, made ready ------------------------------------------------------------------------------------------

# What a word of these ideas means it means inside a longer term too: "run the" still says "run".
_CARRIED = frozenset({"labour", "compute", "watch", "mend", "rig", "cuda", "deliver", *complexity.TABLES})


def _trie(terms: Iterable[str]) -> str:
    """A pattern for the longest of the terms; shared beginnings are written once, so that a miss costs little."""
    branches: dict[str, list[str]] = {}
    for term in terms:
        branches.setdefault(term[:1], []).append(term[1:])
    ended = branches.pop("", None) is not None
    arms = [re.escape(first) + _trie(rest) for first, rest in sorted(branches.items())]
    if not arms:
        return ""
    body = arms[0] if len(arms) == 1 and not ended else f"(?:{'|'.join(arms)})"
    return body + "?" if ended else body


def _grouped(terms: list[str]) -> str:
    """As `_trie`, with the first characters in sets of forty: hundreds of openings are too many to try in turn."""
    firsts = sorted({term[0] for term in terms})
    groups = [firsts[start : start + 40] for start in range(0, len(firsts), 40)]
    return "|".join(f"(?=[{''.join(g)}])(?:{_trie(t for t in terms if t[0] in g)})" for g in groups)


def _split(term: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"{_TOKENS}|[^\x00-\x7f]+", term))


def _listed() -> dict[tuple[str, ...], Ideas]:
    """Each term of the tables as its tokens, with its ideas."""
    found: dict[tuple[str, ...], Ideas] = {}
    for idea, table in (lexicon.TABLES | complexity.TABLES | shapes.OPENINGS).items():
        for term in filter(None, (part.strip() for part in table.split(","))):
            tokens = _split(term)
            found[tokens] = (*found.get(tokens, ()), idea)
    return found


def _inside(tokens: tuple[str, ...]) -> set[str]:
    """The tokens of a phrase, and the pieces of its Chinese tokens."""
    pieces = {t[i:j] for t in tokens if not t.isascii() for i in range(len(t)) for j in range(i + 2, len(t) + 1)}
    return (pieces | set(tokens)) if len(tokens) > 1 else pieces - set(tokens)


def _with_carried(tokens: tuple[str, ...], listed: dict[tuple[str, ...], Ideas]) -> Ideas:
    own = listed[tokens]
    inner = sorted({idea for piece in _inside(tokens) for idea in listed.get((piece,), ())})
    kept = (i for i in inner if i.startswith("?") or (i in _CARRIED and ("idiom" not in own or i in complexity.TABLES)))
    return tuple(dict.fromkeys((*own, *kept)))


_LISTED = _listed()
_KNOWN: dict[str, tuple[Ideas, dict[str, list[Phrase]]]] = {}  # alone, and phrases by second token, the longest first


def _enter(tokens: tuple[str, ...], ideas: Ideas) -> None:
    alone, seconds = _KNOWN.get(tokens[0], ((), {}))
    if len(tokens) == 1:
        alone = ideas
    else:
        seconds.setdefault(tokens[1], []).append((list(tokens[2:]), ideas))
    _KNOWN[tokens[0]] = alone, seconds


def _fill() -> None:
    full = {tokens: _with_carried(tokens, _LISTED) for tokens in _LISTED}
    for tokens, ideas in list(full.items()):
        if tokens[-1].isascii():
            plural = (*tokens[:-1], tokens[-1] + "s")
            full[plural] = tuple(dict.fromkeys((*full.get(plural, ()), *ideas)))
    for tokens, ideas in full.items():
        _enter(tokens, ideas)
    for _, seconds in _KNOWN.values():
        for phrases in seconds.values():
            phrases.sort(key=lambda phrase: -len(phrase[0]))


_fill()
_HAN = _grouped(sorted({token for tokens in _LISTED for token in tokens if not token.isascii()}))
_CUT_ASCII = re.compile(rf"{_TOKENS}|{_STOP}")
_CUT = re.compile(rf"{_TOKENS}|{_STOP}|{_HAN}")
_SIMPLER = str.maketrans(lexicon.TRADITIONAL, lexicon.SIMPLIFIED)
_LINK = re.compile(r"https?://[^\s，。）)]+")
_RHYTHMS = [(name, shapes.GATES[name], re.compile(pattern)) for name, pattern in shapes.RHYTHM.items()]
_RHYTHMS_HAN = [(name, re.compile(pattern)) for name, pattern in shapes.RHYTHM_HAN.items()]
_MARKS = re.compile(r"[`(_={#/:>-]|\.(?=\w)")
_SHAPES = [(name, sign, re.compile(pattern)) for name, sign, pattern in shapes.SHAPES]


# ---- reading ---------------------------------------------------------------------------------------------------------


def read(text: str) -> Evidence:
    """Every idea the text shows; `writes_code` or `writes_prose` when it says what is to be handed over."""
    raw = _clip(text)
    if "://" in raw:
        raw = _LINK.sub(" ", raw)
    folded = _normalise(raw)
    plain = folded.isascii()
    tokens = (_CUT_ASCII if plain else _CUT).findall(folded)
    hits = _look_up(tokens)
    evidence: Evidence = {}
    for _, _, words, ideas in hits:
        for idea in ideas:
            evidence.setdefault(idea, []).append(words)
    _find_rhythms(evidence, folded)
    if not plain or _MARKS.search(raw) or raw[1:] != folded[1:]:
        _find_shapes(evidence, raw)
    if stops := [token for token in tokens if token in _STOPS]:
        evidence["clause"] = stops
    _hand_over(evidence, hits, tokens)
    return evidence


def _clip(text: str) -> str:
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def _normalise(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Some single characters unfold to eighteen, so the bound is set once more.
    return _clip(unicodedata.normalize("NFKC", text).casefold().translate(_SIMPLER))


def _look_up(tokens: list[str]) -> list[Hit]:
    """The longest known term at each place; a phrase takes its words out of play."""
    hits: list[Hit] = []
    free = 0
    for here, token in enumerate(tokens):
        if token not in _KNOWN or here < free:
            continue
        ideas, seconds = _KNOWN[token]
        following = tokens[here + 1] if here + 1 < len(tokens) else ""
        if following in seconds and (phrase := _phrase_at(tokens, here, seconds[following])):
            free = phrase[1]
            hits.append(phrase)
        elif ideas:
            hits.append((here, here + 1, token, ideas))
    return hits


def _phrase_at(tokens: list[str], here: int, phrases: list[Phrase]) -> Hit | None:
    for rest, ideas in phrases:
        end = here + 2 + len(rest)
        if not rest or tokens[here + 2 : end] == rest:
            return here, end, " ".join(tokens[here:end]), ideas
    return None


def _find_rhythms(evidence: Evidence, folded: str) -> None:
    for name, opening, pattern in _RHYTHMS:
        if opening in evidence and (found := pattern.search(folded)):
            evidence[name] = [found.group()]
    if not folded.isascii():
        for name, pattern in _RHYTHMS_HAN:
            if found := pattern.search(folded):
                evidence.setdefault(name, []).append(found.group())


def _find_shapes(evidence: Evidence, raw: str) -> None:
    for name, sign, pattern in _SHAPES:
        if sign in raw and (found := pattern.findall(raw)):
            evidence.setdefault(name, []).extend(found)


# ---- what is to be handed over ---------------------------------------------------------------------------------------


def _hand_over(evidence: Evidence, hits: list[Hit], tokens: list[str]) -> None:
    """Note whether code or prose is to be written: the head noun after the first verb of making."""
    if "make" not in evidence:
        _note_opening(evidence, hits, tokens)
        return
    first = next(i for i, hit in enumerate(hits) if "make" in hit[3])
    start = hits[first][1]
    end = next((i for i in range(start, len(tokens)) if tokens[i] in _STOPS), len(tokens))
    nouns = [h for h in hits[first + 1 :] if h[0] < min(end, start + 14) and ("artefact" in h[3] or "prose" in h[3])]
    if nouns:
        # Chinese puts the head last ("能转码的脚本"), English first ("a script that transcodes").
        chinese = any(not token.isascii() for token in tokens[start - 1 : nouns[-1][1]])
        head = nouns[-1] if chinese else _compound_head(nouns)
        evidence["writes_code" if "artefact" in head[3] else "writes_prose"] = [head[2]]


def _compound_head(nouns: list[Hit]) -> Hit:
    """The last of the nouns that follow each other at once: a birthday card generator is a generator."""
    head = nouns[0]
    for noun in nouns[1:]:
        if noun[0] > head[1]:
            break
        head = noun
    return head


def _note_opening(evidence: Evidence, hits: list[Hit], tokens: list[str]) -> None:
    """What a text opens with is wanted even without a verb: "tests for the parser"."""
    opens = bool(hits) and hits[0][0] <= 1 and "artefact" in hits[0][3]
    if opens and tokens[hits[0][1] : hits[0][1] + 1] in (["for"], ["to"], ["that"]):
        evidence["writes_code"] = [hits[0][2]]
