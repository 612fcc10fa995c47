"""Reads a page as a browser would, as far as tests ask: what is in it, in order, and what it refers to."""

from collections import Counter
from html.parser import HTMLParser

VOID = frozenset({"meta", "link", "br", "img", "input", "hr", "col", "area", "base", "embed", "source", "track", "wbr"})


class Page(HTMLParser):
    """One parsed document; everything that is not well formed is in `wrong`."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[int] = []
        self.wrong: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += [f"never closed: {tag}" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-3:]} at {self.getpos()}")
            if tag in self._open:
                while self._open.pop() != tag:
                    pass
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts.append((self._open[-1], data.strip()))

    @property
    def text(self) -> str:
        """All words that a reader sees."""
        return " ".join(data for tag, data in self.texts if tag not in {"style", "script"})

    def values(self, name: str) -> list[str]:
        """The values of one attribute, wherever it stands."""
        return [value for _, each, value in self.attributes if each == name]

    def figures(self) -> dict[str, str]:
        """The figures of the summary: label → value, as they read."""
        found, label = {}, ""
        inside = ""
        for tag, data in self.texts:
            if tag == "dt":
                label, inside = data, ""
            elif label and tag in {"dd", "span"} and not inside:
                found[label] = inside = data
        return found
