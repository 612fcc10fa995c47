"""What a command works with: its options, the configuration, the way to the daemon and to the log."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from omni.cli.arguments import Globals
from omni.cli.output import Output
from omni.domain.errors import ConfigError, DaemonUnreachable

if TYPE_CHECKING:
    from omni.cli.client import Client
    from omni.config import Config, Loaded
    from omni.config.whereabouts import Whereabouts
    from omni.replay.history import History

COMPLETE_VARIABLE = "_OMNI_COMPLETE"  # a shell sets it to ask for completions
QUIET_S = 1.0  # work that is done sooner needs no progress report
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 — what a listener says, not what we bind


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


class Context:
    """Made once for each run; everything in it is loaded when it is first asked for."""

    def __init__(self, options: Globals) -> None:
        self.options = options
        self.out = Output(as_json=options.json)
        self._hang_up: Callable[[], None] = lambda: None
        self.forgiving = False  # whether a file that cannot be used may still say where the daemon is
        self.file_trouble: ConfigError | None = None

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration. Raises ConfigError."""
        from omni.config import load

        options = self.options
        overrides = {"host": options.host, "port": options.port, "data_dir": options.data_dir}
        return load(Path(options.config) if options.config else None, overrides=overrides)

    @cached_property
    def _where(self) -> Config | Whereabouts:
        """What says where the daemon is. Raises ConfigError."""
        try:
            return self.loaded.config
        except ConfigError as error:
            if not self.forgiving:
                raise
            from omni.config.whereabouts import whereabouts

            self.file_trouble, options = error, self.options
            self.out.note(f"{error.message.splitlines()[0]} (omni config check); asking the daemon all the same")
            overrides = {"host": options.host, "port": options.port, "data_dir": options.data_dir}
            return whereabouts(Path(options.config) if options.config else None, overrides)

    @property
    def data_dir(self) -> Path:
        """The absolute data directory."""
        return Path(self._where.data_dir)

    @property
    def address(self) -> tuple[str, int]:
        """Where the daemon can be reached from here."""
        return _ANY_ADDRESS.get(self._where.host, self._where.host), self._where.port

    @property
    def token(self) -> str:
        """The login token of the daemon on this data directory; empty when there is none yet."""
        from omni.config import token_path

        try:
            return token_path(self.data_dir).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def client(self) -> Client:
        """A way to the daemon; it connects with the first call. A file that is broken by now keeps nobody from it."""
        from omni.cli.client import Client

        self.forgiving = True
        client = Client(*self.address, self.token)
        self._hang_up = client.close
        return client

    def close(self) -> None:
        """Let go of the daemon."""
        self._hang_up()

    def history(self) -> History:
        """The log, read without the daemon. Raises EventLogError, NotFound when there is none."""
        from omni.replay.history import History

        return History.open(self.data_dir)

    def history_instead(self, why: DaemonUnreachable) -> History:
        """The log where the daemon does not answer; without a log the daemon's silence is the news."""
        from omni.config import log_path

        if not log_path(self.data_dir).exists():
            raise why
        self.out.note(f"{self.explained(why).message}; read from the log instead")
        return self.history()

    def explained(self, why: DaemonUnreachable) -> DaemonUnreachable:
        """Where nobody listens: the same, or that the daemon of this data directory is somewhere else."""
        from omni.cli.exits import Nobody

        if not isinstance(why, Nobody):
            return why
        from omni.cli.elsewhere import daemon_elsewhere

        return daemon_elsewhere(why, self.data_dir) or why

    def counting(self, what: str) -> Callable[[int], None]:
        """A progress report for long work: silent for its first second, then a count on stderr.

        Work that goes through the log several times counts from the beginning again: then the pass is named.
        """
        began, last, most, passes = time.monotonic(), 0.0, 0, 1

        def count(done: int) -> None:
            nonlocal last, most, passes
            passes, most = passes + (done < most), done
            now = time.monotonic()
            if now - began > QUIET_S and now - last > (0.2 if self.out.live else 5.0):
                last = now
                said = f"{what}{f', pass {passes}' if passes > 1 else ''}: {done:,} events"
                self.out.redraw(said) if self.out.live else self.out.note(said)

        return count
