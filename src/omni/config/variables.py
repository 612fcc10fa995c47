"""`${VAR}`, `${VAR:-default}` and `os.environ/VAR`: values that come from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from omni.config.problems import Marks, Path, Problem, dotted, mark_of

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_LITELLM = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_SECRET_NAME = re.compile(
    r"(?:(?:^|[_\-.])(?i:key|token|cookie|credential)|[a-z](?:Key|Token|Cookie|Credential)"
    r"|(?i:api_?key|secret|password|passwd|passphrase|authorization))(?i:s?)(?:[_\-.]?\d+)?$"
)
_KEYS = frozenset(("api_keys", "lite_llm_key", "github_key"))
# Masking the home directory or a host in every log line would hide much and protect nothing (ADR-0014).
_PUBLIC = frozenset(
    (
        "HOME",
        "USER",
        "LOGNAME",
        "USERPROFILE",
        "PWD",
        "PATH",
        "TMPDIR",
        "TEMP",
        "LANG",
        "SHELL",
        "HOSTNAME",
        "TZ",
    )
) | {"OMNI_HOST", "OMNI_PORT", "OMNI_DATA_DIR", "OMNI_CONFIG"}
_ABSENT: Any = object()


def is_secret_name(name: str) -> bool:
    """Whether a key, header or variable of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def is_secret_path(path: Path) -> bool:
    """Whether the value at this key is a secret by its place; templates of `arguments` are not."""
    names = [each for each in path if isinstance(each, str)]
    if not names or (names[0] == "mcp_servers" and "arguments" in names[2:3]):
        return False
    return names[0] in _KEYS or is_secret_name(names[-1])


class Substitution:
    """Fills variables into a tree of values and remembers what was secret, absent or missing."""

    def __init__(self, environ: Mapping[str, str], marks: Marks) -> None:
        self._environ = environ
        self._marks = marks
        self.secrets: set[str] = set()
        self.secret_paths: list[str] = []
        self.warnings: list[str] = []
        self.absent: list[str] = []  # variables of secrets that are not set
        self.problems: list[Problem] = []

    def tree(self, value: Any, path: Path = ()) -> Any:
        """The same tree with variables filled in; keys whose secret is absent are left out."""
        if isinstance(value, dict):
            filled = {key: self.tree(each, (*path, key)) for key, each in value.items()}
            return {key: each for key, each in filled.items() if each is not _ABSENT}
        if isinstance(value, list):
            return [self._in_list(each, (*path, index)) for index, each in enumerate(value)]
        if isinstance(value, str):
            return self._text(value, path)
        self._note_number(value, path)
        return value

    def acquit(self, chosen: Mapping[Path, str]) -> None:
        """Forget as secrets the words that come from a closed list: everybody knows them (ADR-0014)."""
        places = {"/".join(map(str, path)): word for path, word in chosen.items()}
        self.secrets -= {places[each] for each in self.secret_paths if each in places}
        self.secret_paths = [each for each in self.secret_paths if each not in places]

    def _in_list(self, value: Any, path: Path) -> Any:
        filled = self.tree(value, path)
        if filled is not _ABSENT:
            return filled
        self.problems.append(Problem(path, f"{value}: the variable is not set, and a list item cannot be left out"))
        return ""

    def _note_number(self, value: Any, path: Path) -> None:
        # A key made of digits only is a number to YAML and still a secret.
        mark = self._marks.get(path)
        if type(value) in (int, float) and mark and mark.text and is_secret_path(path) and path[0] == "api_keys":
            self.secrets.add(mark.text)

    def _text(self, value: str, path: Path) -> Any:
        used: list[str] = []
        missing: list[str] = []
        filled = self._fill(value, used, missing)
        if missing:
            return self._missing(missing, path)
        if used:
            self.secret_paths.append("/".join(map(str, path)))
        if filled and is_secret_path(path):
            self.secrets.update({filled, filled.rpartition(" ")[2]})
        return filled

    def _fill(self, value: str, used: list[str], missing: list[str]) -> str:
        litellm = _LITELLM.fullmatch(value)
        if litellm:
            return self._look_up(litellm[1], None, used, missing)

        def one(match: re.Match[str]) -> str:
            return match[0][1:] if match[1] else self._look_up(match[2], match[3], used, missing)

        return _VARIABLE.sub(one, value)

    def _look_up(self, name: str, default: str | None, used: list[str], missing: list[str]) -> str:
        found = self._environ.get(name)
        if found:
            if name not in _PUBLIC:
                used.append(name)
                self.secrets.add(found)
            return found
        if default is not None:
            return default
        missing.append(name)
        return ""

    def _missing(self, names: list[str], path: Path) -> Any:
        secret = is_secret_path(path) or all(map(is_secret_name, names))
        listed = ", ".join(names)
        if secret:
            where = mark_of(path, self._marks)
            self.absent += names
            self.warnings.append(f"{where}: {dotted(path)}: {listed} is not set, so this secret is absent")
            return _ABSENT
        self.problems.append(
            Problem(path, f"the variable {listed} is not set; set it, or write ${{{names[0]}:-a default}}")
        )
        return ""
