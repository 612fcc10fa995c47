"""One renderer for all pages: Jinja with everything escaped, nothing undefined, and the same filters everywhere.

Times are milliseconds since the epoch or RFC 3339 texts; they are shown in `zone`, by default that of this machine,
and carry UTC beside them. Money that nobody knows is None and reads "unknown", never $0.

    {{ t("key", n=3) }}             a text of `omni.web.texts` in the language of the page
    {{ at|clock }}  {{ at|clock("time") }}  {{ at|ago(now_ms) }}  {{ ms|duration }}
    {{ usd|money }}  {{ n|count }}  {{ state|state }}  {{ mode|mode }}
    {{ text|line(120) }}            text from outside on one line, the rest cut
    {{ text|outside(400) }}         text from outside as it is; what is longer than that is folded, not lost
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omni.domain.view import timestamp
from omni.domain.visible import clean, one_line, usd
from omni.notify.texts import Language
from omni.web.texts import HTML_LANGUAGE, say, word

SHOWN_CHARS = 240  # of a text from outside, before it is folded
MOST_CHARS = 20_000  # of it in a page at all
_MARKS = {
    "completed": "✓", "succeeded": "✓", "ready": "✓", "up": "✓", "ok": "✓", "closed": "✓",
    "failed": "✗", "down": "✗", "invalid": "✗",
    "held": "!", "paused": "!", "interrupted": "!", "cooldown": "!", "open": "…",
    "executing": "▸", "dispatching": "▸", "started": "▸", "waiting": "‖", "cancelled": "–",
}  # fmt: skip
_STEPS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))
_CLOCKS = {"full": "%Y-%m-%d %H:%M:%S", "exact": "%Y-%m-%d %H:%M:%S", "time": "%H:%M:%S", "day": "%Y-%m-%d"}


def page(template: str, language: Language, zone: tzinfo | None = None, **view: Any) -> str:
    """The page in words. Raises UndefinedError where the view lacks what the template shows."""
    made = _environment(language, zone).get_template(template).render(view)
    return made.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair can be in a text, not in a file


@lru_cache(maxsize=8)
def _environment(language: Language, zone: tzinfo | None) -> Environment:
    made = Environment(
        loader=PackageLoader("omni.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
    )
    words = Words(language, zone)
    made.globals |= {"language": language, "html_language": HTML_LANGUAGE[language], "t": words.t, "word": words.word}
    made.filters |= {name: getattr(words, name) for name in _FILTERS}
    return made


_FILTERS = ("clock", "ago", "duration", "money", "count", "state", "mode", "line", "outside")


class Words:
    """How values read in one language and one time zone; what its filters give is safe to stand in a page."""

    def __init__(self, language: Language, zone: tzinfo | None = None) -> None:
        self.language = language
        self.zone = zone

    def t(self, key: str, **facts: Any) -> str:
        """A text of the table."""
        return say(self.language, key, facts)

    def word(self, group: str, value: str) -> str:
        """The word for one value of a set; the value itself where there is none."""
        return word(self.language, group, value)

    def local(self, at: int | str, form: str = "full") -> str:
        """A time as the clock on the wall shows it: full, exact (to the millisecond), time or day."""
        moment = datetime.fromtimestamp(_ms(at) // 1000, UTC).astimezone(self.zone)
        return moment.strftime(_CLOCKS[form]) + (f".{_ms(at) % 1000:03d}" if form == "exact" else "")

    def clock(self, at: int | str | None, form: str = "full") -> Markup:
        """A `<time>` in local time; UTC stands in its title and for machines."""
        if at is None or at == "":
            return Markup("–")
        stamp = timestamp(_ms(at))
        return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
            stamp, str(stamp)[:-1].replace("T", " "), self.local(at, form)
        )

    def ago(self, at: int | str | None, now: int | str) -> str:
        """How long ago, or until when; the time itself stands in its title."""
        if at is None or at == "":
            return self.t("never")
        past = _ms(now) - _ms(at)
        span = self.duration(abs(past), parts=1)
        said = self.t("now") if abs(past) < 1000 else self.t("ago" if past > 0 else "in", span=span)
        return Markup('<time datetime="{}" title="{}">{}</time>').format(timestamp(_ms(at)), self.local(at), said)

    def duration(self, ms: float | None, parts: int = 2) -> str:
        """A span in its one or two greatest units."""
        if ms is None:
            return self.t("unknown")
        if ms < 1000:
            return self.t("span.ms", n=round(ms))
        if ms < 60_000 and parts > 1:
            return self.t("span.s", n=f"{ms / 1000:.3g}")
        said: list[str] = []
        left = int(ms)
        for unit, size in _STEPS:
            whole, rest = divmod(left, size)
            if whole or said:
                said.append(self.t(f"span.{unit}", n=whole) if whole else "")
                left = rest
            if len(said) == parts:
                break
        return " ".join(filter(None, said))

    def money(self, amount: float | None) -> Markup:
        """An amount in US dollars, or that nobody knows it."""
        if amount is None:
            return Markup('<span class="unknown">{}</span>').format(self.t("unknown"))
        return Markup('<span class="num">{}</span>').format(usd(amount))

    def count(self, n: int) -> Markup:
        """A number with its thousands apart."""
        return Markup('<span class="num">{}</span>').format(f"{n:,}")

    def state(self, state: str) -> Markup:
        """A state with its mark: colour is never the only sign."""
        mark = _MARKS.get(state, "·")
        return Markup('<span class="state state-{}"><span aria-hidden="true">{}</span> {}</span>').format(
            state, mark, self.word("state", state)
        )

    def mode(self, mode: str) -> Markup:
        """A mode as a badge with its own pattern."""
        return Markup('<span class="mode mode-{}">{}</span>').format(mode, self.word("mode", mode))

    def line(self, text: object, most: int = 120) -> Markup:
        """Text from outside on one line, cut to so many characters."""
        words = one_line(str(text)[: 8 * most])
        cut = len(words) > most or len(str(text)) > 8 * most
        return Markup("<bdi>{}{}</bdi>").format(words[:most], "…" if cut else "")

    def outside(
        self, text: object, shown: int = SHOWN_CHARS, most: int = MOST_CHARS, whole: str = "", tag: str = "span"
    ) -> Markup:
        """Text from outside with its line breaks; longer than `shown`, the rest unfolds; longer than `most`, it is cut.

        `whole` is the command that shows all of it.
        """
        raw = str(text)
        begin = clean(raw[: most + 1])
        if len(raw) <= shown:
            return Markup('<bdi class="outside">{}</bdi>').format(begin)
        cut = [self.t("text.cut", n=f"{len(raw) - most:,}")] if len(raw) > most else []
        cut += [self.t("text.whole", command=whole)] if cut and whole else []
        note = Markup('<p class="note">{}</p>').format(" ".join(cut)) if cut else Markup()
        return Markup(
            '<details class="fold"><summary><bdi>{}…</bdi> <span class="more">{}</span></summary>'
            '<pre class="outside">{}</pre>{}</details>'
        ).format(clean(raw[:shown]), self.t("text.more", n=len(raw) - shown), clean(raw[:most]), note)


def _ms(at: int | str) -> int:
    if isinstance(at, int):
        return at
    moment = datetime.fromisoformat(at)
    return round(moment.timestamp() * 1000)
