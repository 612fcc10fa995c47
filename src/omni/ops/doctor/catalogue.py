"""Every finding there can be: how bad it is, what it means, and the exit code that an error of it gives.

`docs/doctor.md` shows this table. A finding that is not in it cannot be made.
"""

from __future__ import annotations

from typing import NamedTuple

from omni.ops.doctor.finding import Finding, Level, Mend

CONFIGURATION, UNREACHABLE, LOGIN, LOG = 2, 3, 5, 8  # exit codes of the command line


class Kind(NamedTuple):
    """One sort of finding. `fixed`: `--fix` can mend it."""

    name: str
    level: Level
    means: str
    exit_code: int = CONFIGURATION
    fixed: bool = False


_ALL: tuple[Kind, ...] = (
    Kind("doctor.too_slow", "warning", "a look took too long and was given up; what it had seen by then counts"),
    Kind("doctor.failed", "error", "a look went wrong: a mistake in Omni", 2),
    # --- installation
    Kind("install.python", "error", "Python is older than Omni needs"),
    Kind("install.missing", "error", "a package that Omni stands on is not installed"),
    Kind("install.version", "warning", "a package is of a version that Omni was not made for"),
    Kind("install.tampered", "error", "the installed litellm is a release that carried malware"),
    # --- configuration
    Kind("config.invalid", "error", "the configuration cannot be used"),
    Kind("config.none", "note", "there is no configuration file; the embedded defaults are used"),
    Kind("config.warning", "warning", "something in the configuration is allowed and probably not meant"),
    Kind("config.secret_absent", "warning", "the variable of a secret is not set here"),
    Kind("config.open_to_others", "warning", "others can read the configuration file, which may hold keys", fixed=True),
    # --- files
    Kind("token.none", "note", "there is no login token yet; the first start makes it"),
    Kind("token.open_to_others", "error", "others can read the login token; nobody is let in", LOGIN, fixed=True),
    Kind("token.unusable", "error", "the token file holds no usable token", LOGIN),
    Kind("data.none", "note", "there is no data directory yet", fixed=True),
    Kind("data.no_directory", "error", "the data directory's path is something else"),
    Kind("data.open_to_others", "warning", "others can look into the data directory", fixed=True),
    Kind("data.foreign", "error", "the data directory belongs to another user"),
    Kind("data.not_writable", "error", "nothing can be written into the data directory"),
    Kind("data.file_system", "error", "the log is not safe on this kind of file system"),
    Kind("workdir.none", "warning", "a directory of allowed_workdirs does not exist", fixed=True),
    Kind("logs.large", "note", "the log files take much space"),
    # --- disk
    Kind("disk.full", "error", "there is no room for the log: no task is accepted", LOG),
    Kind("disk.low", "warning", "the disk is nearly full"),
    Kind("disk.no_ballast", "warning", "the space kept back for a full disk is not there", fixed=True),
    # --- event log
    Kind("log.none", "note", "there is no event log yet"),
    Kind("log.unreadable", "error", "the event log cannot be opened", LOG),
    Kind("log.damaged", "error", "the event log is damaged", LOG),
    Kind("log.lost_tail", "error", "acknowledged events are missing from the end of the log", LOG),
    Kind("log.no_witness", "warning", "the head marker is missing or damaged, so a lost end could not be noticed"),
    Kind("log.partly_checked", "note", "the log is too large for the quick check"),
    Kind("log.other_format", "error", "another version of Omni wrote this log, or it is no log of Omni's", LOG),
    Kind("snapshot.stale", "warning", "a snapshot is damaged or not of this log; it only costs time", fixed=True),
    Kind("lock.stale", "note", "the last daemon did not end in order; the next start goes on from the log"),
    Kind("lock.missing", "error", "the lock file of the running daemon was deleted", LOG),
    # --- daemon
    Kind("port.taken", "error", "something other than Omni listens on the port", UNREACHABLE),
    Kind("port.forbidden", "error", "this user may not listen on the port"),
    Kind("port.no_address", "error", "the configured host is no address of this machine"),
    Kind("daemon.none", "note", "no daemon runs on this data directory"),
    Kind("daemon.silent", "error", "the daemon runs and does not answer on the port", UNREACHABLE),
    Kind("daemon.stopped", "error", "the daemon's process is stopped (SIGSTOP)", UNREACHABLE),
    Kind("daemon.second", "error", "the daemon on the port works on another data directory", LOGIN),
    Kind("daemon.not_ready", "error", "the daemon answers and cannot do its work", UNREACHABLE),
    Kind("daemon.refuses_token", "error", "the daemon does not take the token of this data directory", LOGIN),
    Kind("daemon.other_version", "warning", "the daemon is of another version than this command"),
    Kind("daemon.crash_loop", "error", "the daemon was started again and again in a short time", UNREACHABLE),
    Kind("daemon.dispatch_paused", "error", "the daemon begins no task, because it came out of a crash loop"),
    Kind("daemon.orphans", "warning", "processes of executors are left over from a daemon that is gone"),
    # --- service
    Kind("service.not_installed", "note", "the daemon is not installed as a service: it does not start at login"),
    Kind("service.not_running", "error", "the service is installed and not running", UNREACHABLE),
    Kind("service.outdated", "warning", "the service's file is not the one that this version writes"),
    Kind("service.beside", "note", "a daemon runs that the service has not started"),
    Kind("service.ends_at_logout", "warning", "the service ends when you log out"),
    Kind(
        "service.variables",
        "error",
        "the service's file of variables cannot be used, or others can read it",
        fixed=True,
    ),
    Kind("service.unknown", "note", "nothing can be said about the service"),
    # --- machine
    Kind("limits.files", "warning", "the limit of open files is low"),
    Kind("machine.sleeps", "warning", "this Mac goes to sleep, and the daemon with it"),
    Kind("clock.behind_log", "error", "the clock is behind the last event of the log", LOG),
    Kind("clock.skewed", "warning", "the clock is off from that of a cloud"),
    # --- models
    Kind("proxy.unreachable", "error", "the model proxy does not answer"),
    Kind("proxy.key_refused", "error", "the model proxy does not take lite_llm_key"),
    Kind("proxy.model_unknown", "error", "the model proxy does not know a model that a tier names"),
    Kind("proxy.not_checked", "note", "the model proxy does not tell which models it has"),
    Kind("provider.unreachable", "warning", "a provider does not answer"),
    Kind("provider.key_refused", "error", "a provider does not take a key"),
    Kind("provider.no_credit", "warning", "a key has no credit left"),
    Kind("provider.limited", "note", "a provider limits the rate of a key at the moment"),
    Kind("provider.no_backup_key", "note", "a provider has no key for the time when the proxy is down"),
    Kind("ollama.unreachable", "warning", "the model on this machine cannot be woken: nothing answers"),
    Kind("ollama.model_absent", "warning", "the model for the time without a cloud is not there"),
    # --- executors
    Kind("mcp.unreachable", "error", "an MCP server cannot be started or reached"),
    Kind("mcp.tool_absent", "error", "an MCP server does not have the tool that its entry names"),
    Kind("mcp.argument_missing", "error", "the tool requires an argument that the template does not give"),
    Kind("mcp.argument_unknown", "warning", "the template gives an argument that the tool does not know"),
    Kind("mcp.argument_refused", "error", "the template gives an argument that the tool refuses"),
    Kind("mcp.argument_type", "error", "the template gives an argument of another type than the tool takes"),
    Kind("mcp.memory_unfit", "warning", "the memory has not the tools that its entry names"),
    Kind("program.absent", "error", "a program that an executor needs is not there"),
    Kind("program.broken", "error", "a program that an executor needs does not start"),
    Kind("program.too_old", "error", "a program that an executor needs is too old"),
    Kind("gateway.unreachable", "warning", "OpenClaw's gateway does not answer"),
    Kind("git.absent", "warning", "there is no git, so coding tasks get no workspace of their own"),
    Kind("git.no_user", "note", "git does not know who you are; commits of tasks bear Omni's name"),
    # --- people and clients
    Kind("notify.nobody", "note", "nobody is told when something is wrong"),
    Kind("openclaw.not_registered", "note", "OpenClaw is here and does not know Omni"),
    Kind("openclaw.elsewhere", "warning", "OpenClaw knows Omni by another address"),
    Kind("tailscale.trouble", "warning", "Tailscale leads to the daemon otherwise than it should"),
    Kind("tailscale.state", "note", "Tailscale is on this machine, and does not lead to the daemon"),
)

KINDS: dict[str, Kind] = {each.name: each for each in _ALL}


def found(name: str, says: str, mend: str = "", fix: Mend | None = None) -> Finding:
    """A finding of a known kind, with its level."""
    kind = KINDS[name]
    assert fix is None or kind.fixed, f"{name} is not among those that --fix mends"
    return Finding(name, kind.level, says, mend, fix)


def fine(name: str, says: str) -> Finding:
    """That something was looked at and is as it should be."""
    return Finding(name, "ok", says)


def exit_code(findings: list[Finding]) -> int:
    """0 without an error; else the code of the gravest: the log before logins, those before the rest."""
    codes = {KINDS[each.name].exit_code for each in findings if each.level == "error"}
    return next((code for code in (LOG, LOGIN, CONFIGURATION, UNREACHABLE) if code in codes), 0)
