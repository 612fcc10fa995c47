"""What kind of work a task description asks for, and how complex it is (ADR-0015).

Theory. The text is read once for known words (`lexicon`) and a few shapes that no list can hold: file names, stack
traces, "every ten minutes". What was found is evidence; two tables weigh it: `WORDS` gives points for each word of an
idea, `RULES` for ideas that stand together or against each other. Each kind has a score; the one that clears its bar by
most wins, and `general` wins when none does. Three thoughts settle most near misses: idioms swallow the words in them;
what is to be handed over says more than what is spoken of (a CUDA kernel is code, an email about code is prose); and a
standing duty or a heavy computation outweighs the software it names unless that software is to be changed.

Pure and bounded: only the head and the tail of a long text are looked at, and every pattern runs in linear time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from omni.domain import complexity, lexicon

HEAD_CHARS = 2000
TAIL_CHARS = 500
BARS = {"always_on": 35, "gpu": 35, "coding": 30}  # a kind must reach its bar; ties go to the first

Evidence: TypeAlias = dict[str, list[str]]  # idea → the words that spoke for it
Span: TypeAlias = tuple[int, int, tuple[str, ...]]


class Intent(msgspec.Struct, frozen=True):
    """What a description asks for; `signals` are the reasons, fit to be shown to a person."""

    kind: str  # "coding" | "general" | "always_on" | "gpu"
    complexity: int  # 0–100
    signals: tuple[str, ...]
    local: bool


# ---- reading ---------------------------------------------------------------------------------------------------------


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


def _two_level(terms: list[str]) -> str:
    """As `_trie`, with the first characters in sets of forty: hundreds of Chinese openings are too many to try in turn."""
    firsts = sorted({term[0] for term in terms})
    groups = [set(firsts[i : i + 40]) for i in range(0, len(firsts), 40)]
    arms = (f"(?=[{''.join(map(re.escape, g))}])(?:{_trie(t for t in terms if t[0] in g)})" for g in map(sorted, groups))
    return "|".join(arms)


# What a word of these ideas means it means inside a longer term too: "run the" still says "run".
_CARRIED = frozenset({"labour", "compute", "watch", "mend", "rig", "cuda", "deliver"})


def _plain_terms() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for idea, table in lexicon.TABLES.items():
        for term in filter(None, (part.strip() for part in table.split(","))):
            found[term] = (*found.get(term, ()), idea)
    return found


def _inner(term: str, plain: dict[str, tuple[str, ...]]) -> set[str]:
    """The carried ideas of the terms inside a term."""
    words = term.split() if term.isascii() else [term[i:j] for i in range(len(term)) for j in range(i + 2, len(term) + 1)]
    return {idea for word in words if word != term for idea in plain.get(word, ()) if idea in _CARRIED}


def _terms() -> dict[str, tuple[str, ...]]:
    plain = _plain_terms()
    return {
        term: ideas if "idiom" in ideas else tuple(dict.fromkeys((*ideas, *sorted(_inner(term, plain)))))
        for term, ideas in plain.items()
    }


TERMS = _terms()
_LATIN = _trie(t for t in TERMS if t.isascii())
_HAN = _two_level([t for t in TERMS if not t.isascii()])
_TERM = re.compile(rf"(?<![a-z0-9_])(?=[a-z0-9.])(?:{_LATIN})(?:(?=s?(?![a-z0-9_]))|(?<=[+#]))|{_HAN}")
_SIMPLER = str.maketrans(lexicon.TRADITIONAL, lexicon.SIMPLIFIED)
_LINK = re.compile(r"https?://[^\s，。）)]+")

_UNIT = r"(?:s(?:ec(?:ond)?s?)?|min(?:ute)?s?|h(?:ou)?rs?|h|days?|d|nights?|weeks?|months?|years?)"
_DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:days?)?|mornings?|evenings?|afternoons?|noon|midnight|weekdays?|weekends?"
_SOME = r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|few|couple(?: of)?|several|half(?: an)?|single|other)"
_NUM = r"[\d一二两三四五六七八九十百半几整]+"
_TELL = r"(?:告诉|通知|提醒|叫|喊|发|打|推|报|ping|call|短信|@|汇报|吱|提示|警告|预警|私信)"
# Times, turns and promises that no list of words can hold.
RHYTHM = {
    "every": rf"\b(?:every|each) (?:{_SOME} ?){{0,2}}(?:{_UNIT}|{_DAY}|time|(?:new )?(?:post|mention|message|email|order|release|episode|match|game|ticket|comment|update)s?)\b|\b(?:hourly|nightly|twice a day|once an? (?:hour|day|week)|"
    rf"(?:\d+|once|twice|two|three|four) ?(?:x|times) (?:a|per) (?:day|hour|week))\b|\b(?:daily|weekly) at\b|"
    rf"每(?:隔|个|逢|到)?(?:{_NUM})?\s*个?(?:场|次|条|封|秒|分钟|分|小时|钟头|半小时|天|日|周|星期|礼拜|月|晚|早|晨|夜|年|季度|工作日|刻钟|半)|定时|定期|天天|隔{_NUM}",
    "span": rf"\b(?:next|coming|following) (?:{_SOME} )?(?:{_UNIT})\b|\bfor (?:the )?(?:whole |entire |rest of |{_SOME} ?)+(?:the )?{_UNIT}\b|"
    rf"\ball (?:day|week|month|night|year|weekend|season|summer|winter)\b|\bovernight\b|\b(?:through|during|at) (?:the )?(?:night|weekend)\b|\bfrom now on\b|\bwhile (?:i|we) (?:sleep|am|'m|are|'re)\b|"
    rf"\buntil \w+|\btill \w+|(?:接下来|未来|今后|往后|这)(?:的)?{_NUM}?\s*个?(?:天|周|星期|月|小时|年)|持续|连续|{_NUM}\s*个?(?:月|天|周|星期|小时|年)(?:内|之内|里)|"
    r"半年|直到|之前|结束前|整个?(?:周|月|假期|赛季)|节前|睡觉|睡着|夜里|夜间|半夜|晚上也|周末也|放假",
    "promise": rf"\b(?:whenever|as soon as (?!possible|you can)|the (?:moment|minute|second|instant) (?!of)|each time|every time)\b|\b(?:tell|alert|notify|ping|warn|page|call|text|message|email|dm|wake|buzz|shout|remind|inform)(?: (?:me|us|him|her|my \w+))(?: \w+)?"
    r"(?: (?:when|whenever|the (?:moment|second|minute|instant)|as soon as|once|on any|every time|each time|immediately|right away|asap))|"
    r"\blet (?:me|us) know (?:when|whenever|the (?:moment|second|minute|instant)|as soon as|once)|"
    rf"(?:就|马上|立刻|立即|第一时间|及时|随时|赶紧|自动|都){_TELL[:-1]}|给我打)|(?:一有|有新|一旦|只要|每当|有人|一出|一开|一到|一变)[^，。,\n]{{0,15}}?(?:就|马上|立刻)|有[^，。,\n]{{1,10}}(?:就(?:转|回|帮|自动|给)|叫醒?我|喊|告诉|通知|提醒|打电话)|(?:就|马上|立刻|立即|第一时间)(?:给|帮|跟|用|在)[^，。,.\n]{{0,8}}?{_TELL}",
    "tell_if": r"\b(?:tell|alert|notify|ping|warn|page|call|text|email|dm|message|let|wake|buzz|shout)(?: (?:me|us))?(?: know)? if\b|\b(?:alert|notify|page|warn|ping) (?:me|us)\b|"
    r"(?:通知|告诉|提醒|喊|叫|打电话给|发短信|发消息给|报警给)(?:一下)?我|打电话|发短信|发邮件",
    "stay": r"\b(?:keep|keeps|keeping)(?: \S+){0,5}? (?:running|online|alive|up|available|going|awake|live|responding|connected|reachable|open|in sync|synced|updated|fed|warm)\b|"
    r"\b(?:stay|stays|staying|remain|remains) (?:up|online|available|reachable|awake|alive|live|on|connected|open|responsive)\b|\bnever (?:sleeps?|stops?|misses)\b|"
    r"(?:深夜|凌晨|半夜|夜里|晚上|周末|节假日|任何时候|随时|什么时候)(?:也|都)(?:要|能|得|有|可)|(?:要|得|必须|一直|始终|永远|保持|晚上|半夜|也)(?:能|要|得)?(?:一直|保持|继续|始终)?(?:在线|运行|开着|待命|能访问|可用|跑着)|(?:不能|不要|别|不许|不得|不可以)(?:再|让它?)?(?:下线|掉线|离线|宕|中断|断线|断了|停机|关机|断掉)|24\s*(?:个)?(?:小时|h)\s*(?:自动|不|在线|盯|守|有|都|待|回|接|运|监|值|客服)|一直(?:要|得|能|保持|在|有|回|给|帮|挂|守|等)",
    "lives": r"\b(?:is|are|be|must be|stays) (?:always |still )?(?:up|online|reachable|running|alive|awake|responding)\b",
    "bulk": r"\b\d[\d,]{2,}\b|\d+(?:\.\d+)?\s?(?:k|m|million|thousand|hundred|gb|tb|g|t)\b|\b(?:hundreds|thousands|millions)\b|\d\s*万|[一二三四五六七八九十两几上]+[百千万]|\d+\s?(?:hours|hrs) of|\d+ ?(?:小时|张|段|集|部|帧)|全部",
    "away": r"\b(?:laptop|mac|macbook|pc|computer|machine|desktop|imac)\b.{0,25}?\b(?:off|sleeps?|sleeping|shuts?|closed?|asleep|away|offline|lid|restarts?|reboots?|powered)\b|"
    r"\b(?:while|when|even if|even when|after) i(?:'m| am)? (?:sleep|asleep|away|out|off|on vacation|on holiday|travelling|offline|close)\b|"
    r"(?:电脑|笔记本|mac|机器|主机|我人?).{0,8}?(?:关机|关了|合上|睡|休眠|不在|断电|关掉|盖|下班|出门|出差|离线|关着)|合上(?:笔记本|电脑|盖)|关(?:机|电脑)(?:了|后|也|之后)|(?:下班|睡)(?:后|了|之后)也",
}
# Text that looks like code or talks of files; read before the case is folded.
SHAPES = {
    "trace": r"Traceback \(|^\s+at [\w.$]+\(|File \"[^\"\n]{1,200}\", line|```|\b[A-Z][a-zA-Z]{2,40}(?:Error|Exception)\b|\bCrashLoopBackOff\b|\bpanic: |\bSegmentation fault\b|\bE\d{4}\b|\bTS\d{4}\b",
    "shape": r"(?<=\w)\.(?:py|js|mjs|ts|tsx|jsx|go|rs|rb|java|kt|swift|cc|cpp|cxx|hpp|cs|php|sh|bash|zsh|ps1|sql|html|css|scss|less|vue|svelte|toml|tf|gradle|ipynb|proto|graphql|lua|dart|ex|exs|"
    r"scala|cu|vbs|plist|lock|ejs|erb|hbs|jinja|service|nix|zig|hs|clj|pl)\b|(?<=\w)\(\)|\b(?:src|lib|tests?|scripts|pkg|internal|cmd|utils|components|api|app|services)/\w|"
    r"\bSELECT\b|\bINSERT INTO\b|\bALTER TABLE\b|\bCREATE TABLE\b|\{\{|=>|#include|\bdef \w+\(|\bO\([\w^ ]{1,10}\)",
    "sketch": r"(?<=\w)\.(?:json|ya?ml|md|ini|conf|env|xml|cfg)\b|(?<=\s)--?[a-z][a-z-]+|`[^`\n]{1,80}`|(?<=[a-z])_(?=[a-z])|(?<=[a-z][a-z])[A-Z][a-z]|::|/[a-z]+/[a-z]+|(?<=\s)/[a-z]+\b",
}


def _named(patterns: dict[str, str], flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in patterns.items()), flags)


_RHYTHM = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in RHYTHM.items()))
_RHYTHMS = [(name, re.compile(pattern)) for name, pattern in RHYTHM.items()]
_SHAPE = _named(SHAPES, re.MULTILINE)
_CJK = re.compile(r"[一-鿿]")
_CLAUSE_END = re.compile(r"[,，。.;；:：!！?？\n](?![a-z0-9])")


def _normalise(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold().translate(_SIMPLER)


def _clip(text: str) -> str:
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def _read(text: str) -> tuple[Evidence, str]:
    """Everything the text shows, and its normalised form."""
    evidence: Evidence = {}
    raw = _LINK.sub(" ", text) if "://" in text else text
    folded = _normalise(raw)
    spans: list[Span] = []
    for match in _TERM.finditer(folded):
        word = match.group()
        ideas = TERMS[word]
        spans.append((match.start(), match.end(), ideas))
        for idea in ideas:
            evidence.setdefault(idea, []).append(word)
    for match in _SHAPE.finditer(raw):
        evidence.setdefault(match.lastgroup or "", []).append(match.group().strip())
    for name, pattern in _RHYTHMS:
        if found := pattern.search(folded):
            evidence[name] = [found.group()]
    _hand_over(evidence, spans, folded)
    return evidence, folded


# ---- what is to be handed over ---------------------------------------------------------------------------------------


def _hand_over(evidence: Evidence, spans: list[Span], folded: str) -> None:
    """Note whether code or prose is to be written: the head noun after the first verb of making."""
    start = next((i for i, span in enumerate(spans) if "make" in span[2]), None)
    if start is None:
        return _open_with_artefact(evidence, spans, folded)
    end = _CLAUSE_END.search(folded, spans[start][1])
    limit = min(end.start() if end else len(folded), spans[start][1] + 70)
    nouns = [s for s in spans[start + 1 :] if s[0] < limit and ("artefact" in s[2] or "prose" in s[2])]
    if nouns:
        head = nouns[-1] if _CJK.search(folded, spans[start][1], limit) else _compound_head(nouns)
        evidence["writes_code" if "artefact" in head[2] else "writes_prose"] = [folded[head[0] : head[1]]]
    return None


def _compound_head(nouns: list[Span]) -> Span:
    """The last of the nouns that follow each other at once: a birthday card generator is a generator."""
    head = nouns[0]
    for noun in nouns[1:]:
        if noun[0] > head[1] + 2:
            break
        head = noun
    return head


def _open_with_artefact(evidence: Evidence, spans: list[Span], folded: str) -> None:
    """"Tests for the parser" names what is wanted without a verb."""
    if spans and spans[0][0] <= 4 and "artefact" in spans[0][2] and folded[spans[0][1] :].lstrip("s").startswith((" for ", " to ", " that ")):
        evidence["writes_code"] = [folded[spans[0][0] : spans[0][1]]]


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
    return any(idea in e for idea in ideas)


def _two_words(e: Evidence) -> bool:
    """A deed and a thing of software, not one word read twice ("merge")."""
    words = {word for idea in _THINGS + _DEEDS for word in e.get(idea, ())}
    return len(words) > 1 and _any(e, *_THINGS)


def _stands(e: Evidence) -> bool:
    """A duty in earnest, not a question about one."""
    earnest = ("watch", "tell_if", "span", "every", "away", "change")
    return _any(e, "promise", "deliver", "stay") or ("standing" in e and _any(e, *earnest))


def _wants_mending(e: Evidence) -> bool:
    """A question about given code, or one with an order beside it, is work on the code."""
    return (_any(e, "mend", "writes_code") and (_software(e) or "sketch" in e)) or ("symptom" in e and _any(e, "shape", "trace"))


def _software(e: Evidence) -> bool:
    return "code" in e or "shape" in e or "trace" in e


_THINGS = ("soft", "faint", "artefact", "sketch")
_DEEDS = ("mend", "make", "symptom")
_RIVALS = ("talk", "standing", "stay", "every", "promise", "away", "cuda", "heavy")

Rule: TypeAlias = tuple[str, str, int, Callable[[Evidence], bool]]
# reason, kind, points, when
RULES: tuple[Rule, ...] = (
    ("something of software is to be made or mended", "coding", 16,
     lambda e: _any(e, "mend", "make", "symptom") and (_software(e) or _two_words(e))),
    ("software is named, nothing is to be done to it", "coding", -20,
     lambda e: not _any(e, "mend", "make", "trace") and _any(e, *_RIVALS)),
    ("software is only named", "coding", -8,
     lambda e: not _any(e, "mend", "make", "symptom", "trace", *_RIVALS)),
    ("a standing duty names it", "coding", -25,
     lambda e: _any(e, "standing", "stay") and not _any(e, "writes_code", "code_only") and not ("shape" in e and "mend" in e)),
    ("what is handed over is code", "coding", 30, lambda e: "writes_code" in e),
    ("only the code is wanted", "coding", 40, lambda e: "code_only" in e),
    ("an everyday matter", "coding", -15, lambda e: "everyday" in e and not _software(e) and not _any(e, "mend", "symptom")),
    ("an idiom", "coding", -10, lambda e: "idiom" in e and not _software(e)),
    ("the answer is words", "coding", -40, lambda e: "talk" in e and not _wants_mending(e)),
    ("what is handed over is prose", "coding", -60, lambda e: "writes_prose" in e),
    ("the code stays as it is", "coding", -70, lambda e: "hands_off" in e),
    ("a verb of computing with its material", "gpu", 28, lambda e: "compute" in e and _any(e, "cuda", "heavy", "rig")),
    ("a picture or film is to be made", "gpu", 28, lambda e: "depict" in e and "vision" in e),
    ("a machine or model with its material", "gpu", 10, lambda e: "cuda" in e and "rig" in e),
    ("work for a named machine or model", "gpu", 20,
     lambda e: "labour" in e and "compute" not in e and _any(e, "cuda", "heavy")),
    ("much material", "gpu", 16, lambda e: "bulk" in e and "rig" in e and _any(e, "compute", "cuda", "heavy")),
    ("much material", "gpu", 12, lambda e: "bulk" in e and "labour" in e and len(e.get("rig", ())) > 1),
    ("no verb of computing", "gpu", -20, lambda e: not _any(e, "compute", "heavy", "labour") and not ("cuda" in e and "rig" in e)),
    ("the code is ready, the run is the work", "gpu", 20, lambda e: "hands_off" in e and _any(e, "cuda", "heavy", "compute", "labour")),
    ("what is handed over is code", "gpu", -60, lambda e: "writes_code" in e and "hands_off" not in e),
    ("only the code is wanted", "gpu", -60, lambda e: "code_only" in e),
    ("software is to be mended", "gpu", -30,
     lambda e: _any(e, "mend", "symptom") and _software(e) and "hands_off" not in e),
    ("the answer is words", "gpu", -40, lambda e: "talk" in e and not ("heavy" in e and _any(e, "cuda", "rig"))),
    ("what is handed over is prose", "gpu", -40, lambda e: "writes_prose" in e),
    ("it recurs and hands something over", "always_on", 14, lambda e: "every" in e and _any(e, "deliver", "tell_if")),
    ("it waits for a change", "always_on", 10, lambda e: "change" in e and _any(e, "watch", "promise", "tell_if", "every")),
    ("it watches and tells", "always_on", 8, lambda e: "watch" in e and _any(e, "tell_if", "promise") and "change" in e),
    ("a watch with a time", "always_on", 10, lambda e: "span" in e and _any(e, "watch", "promise", "tell_if", "lives")),
    ("what is handed over is code", "always_on", -60, lambda e: "writes_code" in e),
    ("only the code is wanted", "always_on", -60, lambda e: "code_only" in e),
    ("what is handed over is prose", "always_on", -20, lambda e: "writes_prose" in e and not _any(e, "standing", "promise")),
    ("the answer is words", "always_on", -20, lambda e: "talk" in e and not _stands(e)),
    ("software is to be mended", "always_on", -15, lambda e: "mend" in e and _software(e)),
)  # fmt: skip


def _weigh(evidence: Evidence) -> tuple[dict[str, int], list[str]]:
    scores = dict.fromkeys(BARS, 0)
    signals: list[str] = []
    for idea, kind, first, more, most in WORDS:
        if words := evidence.get(idea):
            points = first + more * (min(len(words), most) - 1)
            scores[kind] += points
            signals.append(f"{kind}: '{words[0]}' {points:+d}")
    for reason, kind, points, holds in RULES:
        if scores[kind] > 0 and holds(evidence):
            scores[kind] += points
            signals.append(f"{kind}: {reason} {points:+d}")
    return scores, signals


def _decide(scores: dict[str, int]) -> str:
    margin, kind = max(((scores[kind] - bar, kind) for kind, bar in BARS.items()), key=lambda pair: pair[0])
    return kind if margin >= 0 else "general"


def classify(text: str) -> Intent:
    """The kind of work a description asks for, its complexity, the reasons, and whether it is to run locally."""
    evidence, folded = _read(_clip(text))
    scores, signals = _weigh(evidence)
    kind = _decide(scores)
    signals.extend(f"near miss: '{word}'" for word in evidence.get("idiom", ())[:2])
    level, reasons = complexity.measure(folded, kind, len(text))
    signals.extend(reasons)
    return Intent(kind, level, tuple(signals), "local" in evidence)
