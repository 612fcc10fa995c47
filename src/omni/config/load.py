"""From flags, environment, file and defaults to one checked configuration.

file ─ parse ─ + included servers ─ variables ─┐
environment (OMNI_*, LITELLM_URL) ─────────────┼─ merge ─ build ─ settle defaults ─ check ─ Loaded
flags (overrides) ─────────────────────────────┘
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from omni.config.build import Builder
from omni.config.checks import advise, check
from omni.config.document import MAX_BYTES, parse_document
from omni.config.environment import with_env_file
from omni.config.files import FileMark, files_of, included_files
from omni.config.include import merge_included
from omni.config.listed import with_listed
from omni.config.model import DEFAULT_BRAINSTEM_MODEL, DEFAULT_MODELS, PUBLIC_API_BASES, Config, Provider
from omni.config.paths import data_dir, expand, find_file
from omni.config.problems import HINT, Mark, Marks, Problem, refuse
from omni.config.variables import Substitution, is_secret_path
from omni.domain.errors import ConfigError

_ENVIRONMENT = {
    "OMNI_HOST": "host",
    "OMNI_PORT": "port",
    "OMNI_DATA_DIR": "data_dir",
    "LITELLM_URL": "lite_llm_url",
}
_FALLBACKS = {"GITHUB_LITELLM_KEY": "github_key"}
ALIASES = {("fault_handler", "consecutive_failures_threshold"): "consecutive_failures"}


class Loaded(Struct, frozen=True, kw_only=True):
    """A usable configuration, its file (None: embedded defaults), and what to say and to hide.

    `absent` names the variables of secrets that are not set in this process. `files` are all that was read, as they
    were; `overrides` what the command line said: with them `load_again` reads the same once more.
    """

    config: Config
    path: Path | None
    warnings: list[str]
    secrets: frozenset[str]
    absent: tuple[str, ...] = ()
    files: tuple[FileMark, ...] = ()
    overrides: dict[str, Any] = {}


def load(
    path: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """Load and check the configuration: flags (`overrides`, dotted keys) > environment > file > defaults.

    Raises ConfigError with each wrong key, its line and the next command. An override of None says nothing.
    """
    environ = with_env_file(environ)
    file = find_file(path, environ)
    files = files_of(file, environ)  # as they are before they are read: a change meanwhile shows later
    raw, marks = ({}, {}) if file is None else parse_document(_read(file), str(file))
    aliased = _rename_aliases(raw, marks)
    merge_included(raw, marks, file, environ)
    variables = Substitution(environ, marks)
    raw = variables.tree(raw)
    _lay_over(raw, marks, environ, overrides or {}, variables)
    builder = Builder(marks)
    config = builder.record(raw, Config)
    variables.acquit(builder.chosen)
    problems = aliased + variables.problems + builder.line_order()
    if config is not None and not problems:
        config = _settle(config, marks, file, environ, variables.secret_paths)
        problems = check(config)
    refuse(problems, marks, variables.secrets)
    config = config or Config()
    warnings = variables.warnings + advise(config)
    secrets = frozenset(variables.secrets - {""})
    return Loaded(
        config=config,
        path=file,
        warnings=warnings,
        secrets=secrets,
        absent=tuple(variables.absent),
        files=files + included_files(config.include_mcp_servers, file, environ),
        overrides=dict(overrides or {}),
    )


def load_again(loaded: Loaded, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read the configuration anew, as it was read before. A file that was there and is gone is an error, no default.

    So is one of which nothing is left: whoever writes it empties it first, and a full disk leaves it so. Raises
    ConfigError.
    """
    path = loaded.path.absolute() if loaded.path else None
    again = load(path, overrides=loaded.overrides, environ=environ)
    if path and again.files[0].size == 0 < loaded.files[0].size:
        raise ConfigError(
            f"{path} is empty, and it was not",
            hint="put it back, then omni config reload; for the defaults, leave a comment in it",
        )
    return again


def restore(body: Mapping[str, Any]) -> Config:
    """Read back a configuration from the body that `redacted` made; its secrets are gone."""
    return msgspec.convert(body, Config)


def _read(file: Path) -> str:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file} is larger than {MAX_BYTES // 1024} KiB", hint=HINT)
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text (byte {error.start})", hint=HINT) from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", hint=f"ls -l {file}") from None


def _rename_aliases(raw: dict[str, Any], marks: Marks) -> list[Problem]:
    problems = []
    for (section, old), new in ALIASES.items():
        values = raw.get(section)
        if not isinstance(values, dict) or old not in values:
            continue
        if new in values:
            problems.append(Problem((section, old), f"means the same as {new!r}; keep one of them"))
        values[new] = values.pop(old)
        marks[section, new] = marks[section, old]
    return problems


def _lay_over(
    raw: dict[str, Any],
    marks: Marks,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
    found: Substitution,
) -> None:
    for variable, key in _FALLBACKS.items():
        if environ.get(variable) and not raw.get(key):
            _put(raw, marks, key, environ[variable], f"{variable} (environment)")
            found.secrets.add(environ[variable])
    for variable, key in _ENVIRONMENT.items():
        if environ.get(variable):
            _put(raw, marks, key, environ[variable], f"{variable} (environment)")
    for key, value in overrides.items():
        if value is not None:
            _put(raw, marks, key, value, f"--{key.replace('_', '-')} (command line)")
            found.secrets.update({str(value)} if is_secret_path(tuple(key.split("."))) else ())


def _put(raw: dict[str, Any], marks: Marks, key: str, value: Any, origin: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        if not isinstance(raw.get(section), dict):
            raw[section] = {}
        raw = raw[section]
    raw[last] = value
    marks[(*sections, last)] = Mark(origin)


def _settle(
    config: Config, marks: Marks, file: Path | None, environ: Mapping[str, str], secret_paths: list[str]
) -> Config:
    base = file.parent if file else None
    mark = marks.get(("data_dir",))
    data_base = base if mark and mark.line else None
    model = config.brainstem.model or config.fault_handler.brainstem_model or DEFAULT_BRAINSTEM_MODEL
    settled = replace(
        config,
        data_dir=str(data_dir(config.data_dir, environ, data_base)),
        allowed_workdirs=tuple(str(expand(each, environ, base)) for each in config.allowed_workdirs),
        providers={name: _settle_provider(name, each) for name, each in _providers(config).items()},
        brainstem=replace(config.brainstem, model=model),
        repair=replace(config.repair, logs=tuple(str(expand(each, environ, base)) for each in config.repair.logs)),
        secret_paths=tuple(sorted(secret_paths)),
    )
    return with_listed(settled)


def _providers(config: Config) -> dict[str, Provider]:
    """The file's providers; where it has none, those that it has keys for and that need no more to be known."""
    keys = config.api_keys
    known = (name for name in (*keys.primary, *keys.backup) if name in PUBLIC_API_BASES)
    return config.providers or {name: Provider() for name in known}


def _settle_provider(name: str, provider: Provider) -> Provider:
    kind = provider.kind or (name if name in PUBLIC_API_BASES else None)
    api_base = provider.api_base or PUBLIC_API_BASES.get(kind or "", "")
    public = api_base == PUBLIC_API_BASES.get(kind or "") and not provider.models
    model = provider.default_model or (DEFAULT_MODELS.get(kind or "", "") if public else "")
    return replace(provider, kind=kind, api_base=api_base, default_model=model)
