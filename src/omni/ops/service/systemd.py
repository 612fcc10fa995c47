"""systemd: a unit of the user's own manager, and the same for the whole machine.

The user's manager ends with the last session unless the user lingers; `state` says so, and how to change it.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from omni.ops.service.manager import Commands, Ran, ServiceError, State, prepare, read, until, wanted, write
from omni.ops.service.plan import FILES, PAUSE_S, Plan

GRACE_S = 10.0
BOOTED = Path("/run/systemd/system")  # there where systemd is the first process
_SHOWN = ("LoadState", "ActiveState", "SubState", "MainPID", "ExecMainStatus", "NRestarts", "UnitFileState")
_ABSENT = ("bus", "not been booted")
LINGER = "it ends when you log out; to keep it: loginctl enable-linger"


def unit_name(plan: Plan) -> str:
    """The name that systemd knows it by."""
    return f"{plan.name}.service"


def definition(plan: Plan) -> str:
    """The unit file."""
    variables = [f"Environment={_quoted(f'{name}={value}')}" for name, value in plan.variables.items()]
    lines = [
        "[Unit]",
        "Description=Omni, a task dispatcher for AI work",
        "# It is started again and again: what fails for a while, a full disk say, mends itself. Omni counts its own",
        "# starts, and begins no task in a crash loop.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_quoted(word, command=True) for word in plan.program)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        f"WorkingDirectory={_plain(str(plan.data_dir))}",
        *variables,
        *([f"User={plan.user}"] if plan.user else []),
        "Restart=on-failure",
        "# To systemd this signal is an end in order; to Omni it is a reload, which in the first instant nobody hears.",
        "RestartForceExitStatus=SIGHUP",
        f"RestartSec={PAUSE_S}",
        "# Only the daemon is asked to stop: it ends its executors itself, after they had time for their work.",
        "KillMode=mixed",
        f"TimeoutStopSec={plan.stop_within_s}",
        f"LimitNOFILE={FILES}",
        "UMask=0077",
        f"StandardOutput=append:{_plain(str(plan.said))}",
        f"StandardError=append:{_plain(str(plan.said))}",
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if plan.user else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


class Systemd:
    """One unit of the user who asks."""

    def __init__(
        self, plan: Plan, *, home: Path, environ: Mapping[str, str] | None = None, booted: Path = BOOTED
    ) -> None:
        self._plan, self._booted = plan, booted
        self._unit = unit_name(plan)
        known = os.environ if environ is None else environ
        config = Path(known.get("XDG_CONFIG_HOME") or home / ".config")
        self._file = config / "systemd" / "user" / self._unit
        self._run = Commands("systemctl", environ)
        self._loginctl = Commands("loginctl", environ)

    def definition(self) -> bytes:
        """The unit file."""
        return definition(self._plan).encode()

    def install(self) -> State:
        """Write, load, enable and start; a unit that changed is started anew."""
        prepare(self._plan)
        changed = write(self._file, self.definition(), 0o644)
        if changed:
            self._systemctl("daemon-reload")
        self._systemctl("enable", self._unit)
        self._systemctl("restart" if changed else "start", self._unit)
        self._running()
        return self.state()

    def uninstall(self) -> State:
        """Stop and disable it, and remove the unit."""
        if self._file.exists():
            self._systemctl("disable", "--now", self._unit)
            self._file.unlink(missing_ok=True)
            self._systemctl("daemon-reload")
        return self.state()

    def start(self) -> State:
        """Start it."""
        wanted(self._file)
        self._systemctl("reset-failed", self._unit, fails=False)
        self._systemctl("start", self._unit)
        self._running()
        return self.state()

    def stop(self) -> State:
        """Stop it; it is started again at the next login, or boot."""
        wanted(self._file)
        self._systemctl("stop", self._unit)
        return self.state()

    def restart(self) -> State:
        """Stop it in order and start it, as it is installed."""
        wanted(self._file)
        self._systemctl("restart", self._unit)
        self._running()
        return self.state()

    def state(self) -> State:
        """What `systemctl show` says."""
        shown = self._show()
        on_disk = read(self._file)
        pid = int(shown.get("MainPID", "0") or 0)
        loaded = shown.get("LoadState") == "loaded"
        running = shown.get("ActiveState") in {"active", "deactivating"} and pid > 0
        return State(
            manager="systemd",
            name=self._plan.name,
            label=self._unit,
            file=str(self._file),
            installed=on_disk is not None,
            current=on_disk is not None and _settled(on_disk) == _settled(self.definition()),
            loaded=loaded,
            running=running,
            pid=pid or None,
            last_exit=int(shown["ExecMainStatus"]) if loaded and shown.get("ExecMainStatus", "").isdigit() else None,
            starts=int(shown["NRestarts"]) + 1 if running and shown.get("NRestarts", "").isdigit() else None,
            at_login=shown.get("UnitFileState") == "enabled",
            note="" if not loaded else self._notes(shown),
        )

    def _notes(self, shown: Mapping[str, str]) -> str:
        """What is to be said of it: how it stands where it does not run, or that it will not stay."""
        if shown.get("ActiveState") != "active":
            return f"{shown.get('ActiveState')} ({shown.get('SubState')})"
        try:
            said = self._loginctl("show-user", pwd.getpwuid(os.getuid()).pw_name, "--property=Linger")
        except ServiceError:
            return ""
        return LINGER if said.out.strip() == "Linger=no" else ""

    def _running(self) -> None:
        """Type=exec: it was started. Whether it stays up for a moment tells a wrong configuration from a right one."""
        if not until(lambda: self._show().get("ActiveState") == "active", GRACE_S + PAUSE_S):
            raise ServiceError(f"{self._unit} does not start", hint=f"omni logs, or: tail {self._plan.said}")

    def _show(self) -> dict[str, str]:
        ran = self._systemctl("show", self._unit, f"--property={','.join(_SHOWN)}")
        return dict(line.partition("=")[::2] for line in ran.out.splitlines() if "=" in line)

    def _systemctl(self, *words: str, fails: bool = True) -> Ran:
        ran = self._run("--user", *words)
        if ran.code and fails:
            raise ServiceError(
                f"systemctl: {ran.said or f'exit code {ran.code}'}", hint=_hint(ran, self._unit, self._booted)
            )
        return ran


def _settled(content: bytes) -> list[bytes]:
    """What a unit says but for its PATH, which is another in each shell."""
    return [line for line in content.splitlines() if not line.startswith((b"Environment=PATH=", b'Environment="PATH='))]


def _hint(ran: Ran, unit: str, booted: Path) -> str:
    if any(said in ran.said for said in _ABSENT) and not booted.is_dir():
        return (
            "omni serve, in a terminal of its own: systemd does not run this machine (a container, or WSL without it)"
        )
    if "bus" in ran.said:
        return "log in as this user (not by su or sudo), or: export XDG_RUNTIME_DIR=/run/user/$(id -u)"
    return f"systemctl --user status {unit}"


def _quoted(word: str, *, command: bool = False) -> str:
    """A word as systemd reads it back: quoted, and safe from specifiers and, on a command line, from variables."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    text = text.replace("$", "$$") if command else text
    plain = text.replace("/", "").replace("-", "").replace(".", "").replace("_", "").replace("=", "").replace(":", "")
    return text if plain.isalnum() and plain.isascii() else f'"{text}"'


def _plain(path: str) -> str:
    """A path where systemd takes the rest of the line."""
    return path.replace("%", "%%")
