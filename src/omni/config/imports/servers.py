"""MCP servers that another program lists: its `mcpServers` or `servers` block to entries of `mcp_servers`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from omni.config.addresses import is_loopback
from omni.config.executors import MEMORY, NAMED_ADAPTERS
from omni.config.imports.plan import Plan, is_random, is_written_out, without_scheme
from omni.config.variables import is_secret_name

_URLS = ("url", "serverUrl", "httpUrl")
_TYPES = ("type", "transport")
_SPOKEN = frozenset(("", "stdio", "local", "remote", "http", "streamable-http", "streamablehttp", "ws"))
_TAKEN = frozenset((*_URLS, *_TYPES, "command", "args", "env", "headers", "cwd", "disabled", "enabled", "name"))
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?::-.*)?")
_OPTION = re.compile(r"(-{1,2}[A-Za-z][\w.-]*|[A-Za-z_]\w*)=(.+)", re.DOTALL)


class _NotTaken(Exception):
    """Why an entry cannot be taken."""


def blocks(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every block of servers in a document, with the name of its place."""
    nested = document.get("mcp")
    found: list[tuple[str, Any]] = [("mcpServers", document.get("mcpServers")), ("servers", document.get("servers"))]
    if isinstance(nested, dict):
        found.append(("mcp.servers", nested.get("servers")))
    projects = document.get("projects")
    for folder, project in projects.items() if isinstance(projects, dict) else ():
        if isinstance(project, dict):
            found.append((f"projects[{folder}].mcpServers", project.get("mcpServers")))
    return ((where, block) for where, block in found if isinstance(block, dict) and block)


def take(plan: Plan, document: Mapping[str, Any], file: Path) -> None:
    """Add the servers of a document to the plan, or say why one does not come along."""
    taken: dict[str, Any] = {}
    for where, block in blocks(document):
        for name, entry in block.items():
            _take(plan, taken, f"{where}.{name}", str(name), entry, file)
    if taken:
        plan.add["mcp_servers"] = taken
        plan.notes.append("a server takes tasks once its entry has a `tool` and its `arguments`: docs/executors.md")


def _take(plan: Plan, taken: dict[str, Any], where: str, name: str, entry: Any, file: Path) -> None:
    own = f"{name}_mcp" if name in NAMED_ADAPTERS - {MEMORY} else name
    trial = Plan(values=dict(plan.values))
    try:
        made = _entry(trial, where, name, entry, file)
    except _NotTaken as error:
        plan.leave(where, str(error))
        return
    if taken.get(own, made) != made:
        plan.leave(where, "another entry of that name comes first")
        return
    if own != name:
        trial.notes.append(f"{name} is called {own} here: {name} stands for the bundled adapter")
    plan.absorb(trial)
    taken[own] = made


def _entry(plan: Plan, where: str, name: str, entry: Any, file: Path) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _NotTaken("it is not a mapping")
    _check(name, entry)
    reader = _Reader(plan, where, name, file)
    made = {**reader.reach(entry), **reader.secrets(entry, "env"), **reader.secrets(entry, "headers")}
    if entry.get("disabled") is True or entry.get("enabled") is False:
        made["enabled"] = False
    for key in entry.keys() - _TAKEN:
        plan.leave(f"{where}.{key}", "it speaks to the program that the file is for")
    return made


def _check(name: str, entry: dict[str, Any]) -> None:
    kind = next((str(entry[key]).lower() for key in _TYPES if entry.get(key)), "")
    url, command = _url_of(entry), entry.get("command")
    if kind == "sse":
        raise _NotTaken("it speaks SSE, an older transport of MCP; give its address for streamable HTTP, if it has one")
    if kind not in _SPOKEN:
        raise _NotTaken(f"Omni does not know the transport {kind!r}")
    if command is not None and not isinstance(command, str):
        raise _NotTaken("its command is not text")
    if not url and not command:
        raise _NotTaken("it has neither a url nor a command")
    if _is_omni(name, url, command or "", entry.get("args")):
        raise _NotTaken("that is Omni itself")


def _is_omni(name: str, url: str, command: str, args: Any) -> bool:
    words = args if isinstance(args, list) else []
    started = (PurePath(command).name == "omni" and words[:1] == ["mcp"]) or words[:3] == ["-m", "omni.cli.main", "mcp"]
    return started or (name == "omni" and is_loopback(urlsplit(url).hostname or ""))


def _url_of(entry: Mapping[str, Any]) -> str:
    return next((entry[key] for key in _URLS if isinstance(entry.get(key), str)), "")


class _Reader:
    """Reads the values of one entry: references in the words of other programs, and secrets that are written out."""

    def __init__(self, plan: Plan, where: str, name: str, file: Path) -> None:
        self._plan = plan
        self._where = where
        self._name = name
        self._file = file

    def reach(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Where the server is, or what starts it."""
        url = _url_of(entry)
        if url:
            return {"url": self._url(self._text(url))}
        args = [self._text(str(each)) for each in _list(entry.get("args"))]
        made: dict[str, Any] = {"command": self._text(entry["command"])}
        if args:
            made["args"] = self._arguments(args)
        if cwd := self._directory(entry, made["command"], args):
            made["cwd"] = cwd
        return made

    def secrets(self, entry: Mapping[str, Any], key: str) -> dict[str, Any]:
        """The variables or headers of an entry; empty where it has none."""
        found = entry.get(key)
        given = found if isinstance(found, dict) else {}
        for name in [name for name, value in given.items() if value is None]:
            self._plan.leave(f"{self._where}.{key}.{name}", "it has no value")
        named = {str(name): value for name, value in given.items() if value is not None}
        made = {name: self._secret(name, self._text(_written(value)), key) for name, value in named.items()}
        return {key: made} if made else {}

    def _secret(self, name: str, value: str, key: str) -> str:
        if not is_written_out(name, value):
            return value
        scheme, secret = without_scheme(value) if key == "headers" else ("", value)
        variable = name if key == "env" else f"{self._name}_{name}"
        if not is_secret_name(variable):
            variable += "_SECRET"
        return scheme + self._plan.hide(secret, variable, f"{self._where}.{key}.{name}")

    def _arguments(self, args: list[str]) -> list[str]:
        """The arguments, secrets hidden: `--api-key=…`, `--api-key …`, `TOKEN=…`, or a word that looks like one."""
        made: list[str] = []
        for at, word in enumerate(args):
            option = _OPTION.fullmatch(word)
            before = args[at - 1].lstrip("-") if at and args[at - 1].startswith("-") and "=" not in args[at - 1] else ""
            where = f"{self._where}.args[{at}]"
            if option and is_written_out(option[1], option[2]):
                made.append(f"{option[1]}={self._hidden(option[2], option[1], where)}")
            elif not word.startswith("-") and is_written_out(before, word):
                made.append(self._hidden(word, before or "argument", where))
            else:
                made.append(word)
        return made

    def _url(self, url: str) -> str:
        """The address, with what opens it hidden: a login, a parameter, or a part of the path that looks drawn."""
        parts = urlsplit(url)
        where = f"{self._where}.url"
        login, at, _ = parts.netloc.rpartition("@")
        found = [(login, "login")] if at else []
        found += [(value, name) for name, value in parse_qsl(parts.query) if is_written_out(name, value)]
        found += [(each, "url") for each in parts.path.split("/") if is_random(each)]
        for secret, name in found:
            if "${" not in secret:
                reference = self._hidden(secret, name, where)
                url = url.replace(secret, reference, 1).replace(quote(secret, safe=""), reference, 1)
        return url

    def _hidden(self, secret: str, name: str, where: str) -> str:
        variable = f"{self._name}_{name.lstrip('-')}"
        return self._plan.hide(secret, variable if is_secret_name(variable) else f"{variable}_TOKEN", where)

    def _directory(self, entry: Mapping[str, Any], command: str, args: list[str]) -> str:
        """Where it starts: what the entry says, else the file's folder where the command is relative to that."""
        folder = self._folder
        if isinstance(entry.get("cwd"), str):
            said = Path(self._text(entry["cwd"]))
            return str(said if said.is_absolute() or str(said).startswith(("~", "$")) else folder / said)
        relative = (command, *args) if "/" in command and not command.startswith(("/", "~", "$")) else tuple(args)
        return str(folder) if any(word.startswith(("./", "../")) for word in relative) else ""

    @property
    def _folder(self) -> Path:
        folder = self._file.absolute().parent
        return folder.parent if folder.name in {".vscode", ".cursor"} else folder

    def _text(self, text: str) -> str:
        return _REFERENCE.sub(self._reference, text)

    def _reference(self, match: re.Match[str]) -> str:
        """`${env:X}`, `${input:x}` and the like, in our own words. Raises _NotTaken for what only an editor knows."""
        said = match[1]
        known = {"workspaceFolder": str(self._folder), "userHome": "${HOME}", "/": "/", "pathSeparator": "/"}
        if said in known:
            return known[said]
        kind, colon, name = said.partition(":")
        if kind == "env" and colon:
            return f"${{{name}}}"
        if kind == "input" and colon:
            variable = re.sub(r"[^A-Za-z0-9]+", "_", f"{self._name}_{name}").upper()
            self._plan.notes.append(f"{self._where} asks for {name!r}, which is the variable {variable} here")
            return f"${{{variable}}}"
        if _PLAIN.fullmatch(said):
            return match[0]
        raise _NotTaken(f"only the program that the file is for knows what {match[0]} is")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
