"""Where things are: the configuration file, the data directory and what lies in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from omni.domain.errors import ConfigError

FILE_NAME = "config.yaml"


def find_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the named one, OMNI_CONFIG, ./config.yaml, the platform's; None when there is none.

    Raises ConfigError when a file that was asked for by name is missing, or is none.
    """
    wanted = named or (Path(environ["OMNI_CONFIG"]) if environ.get("OMNI_CONFIG") else None)
    if wanted is None:
        return next((each for each in (Path(FILE_NAME), user_file()) if each.is_file()), None)
    wanted = expand(str(wanted), environ)
    if not wanted.is_file():
        wrong = f"{wanted} is no file" if wanted.exists() else f"the configuration file {wanted} does not exist"
        raise ConfigError(
            wrong,
            hint="name another with --config, or none: omni serve runs without a file too",
        )
    return wanted


def user_file() -> Path:
    """The configuration file in the platform's configuration directory."""
    import platformdirs

    return Path(platformdirs.user_config_dir("omni", appauthor=False)) / FILE_NAME


def data_dir(named: str = "", environ: Mapping[str, str] = os.environ, base: Path | None = None) -> Path:
    """The absolute data directory: the named one (relative to `base`), OMNI_DATA_DIR, or the platform's."""
    wanted = named or environ.get("OMNI_DATA_DIR", "")
    if wanted:
        return expand(wanted, environ, base)
    import platformdirs

    return Path(platformdirs.user_data_dir("omni", appauthor=False))


def token_path(directory: Path | str) -> Path:
    """The file with the login token, mode 0600."""
    return Path(directory) / "token"


def log_path(directory: Path | str) -> Path:
    """The event log's database file."""
    return Path(directory) / "omni.db"


def expand(text: str, environ: Mapping[str, str], base: Path | None = None) -> Path:
    """Make a path absolute: `~` is HOME of `environ`, a relative one starts at `base` or where we are."""
    home = environ.get("HOME") or str(Path.home())
    if text == "~" or text.startswith(("~/", "~\\")):
        text = home + text[1:]
    return ((base or Path()) / text).absolute()
