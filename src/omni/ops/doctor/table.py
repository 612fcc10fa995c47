"""The one table of looks, and those that an entry of the configuration adds to it."""

from __future__ import annotations

from omni.ops.doctor import clients, door, files, log, machine, models, servers, service, settings
from omni.ops.doctor.looking import Check
from omni.ops.doctor.scene import Scene

ROOMS = ("install", "config", "data", "log", "daemon", "machine", "models", "executors", "people")

CHECKS: tuple[Check, ...] = (
    Check("install", "packages", machine.installed),
    Check("config", "configuration", settings.configuration),
    Check("config", "configuration file", files.config_file),
    Check("data", "data directory", files.data_dir),
    Check("data", "token", files.token),
    Check("data", "disk", files.disk),
    Check("data", "log files", files.log_size),
    Check("log", "event log", log.database, log.QUICK_S + 7.0),
    Check("log", "snapshots", log.snapshots),
    Check("log", "lock", log.lock),
    Check("log", "clock", log.clock),
    Check("daemon", "daemon", door.daemon, 4 * door.ANSWER_S + 2.0),
    Check("daemon", "starts", log.crash_loop),
    Check("daemon", "left processes", files.children),
    Check("daemon", "service", service.service, 20.0),
    Check("daemon", "service's variables", service.variables),
    Check("machine", "open files", machine.files),
    Check("machine", "sleep", machine.sleep),
    Check("executors", "work directories", files.workdirs, live=True),
    Check("executors", "git", machine.git, live=True),
    Check("people", "notices", clients.notices, live=True),
    Check("people", "OpenClaw", clients.openclaw),
    Check("people", "Tailscale", clients.tailscale, 15.0),
)


def checks_of(scene: Scene, *, live_only: bool = False) -> list[Check]:
    """All looks at this installation, by room; `live_only`: those at what the configuration points to."""
    wanted = [*CHECKS, *models.checks(scene), *servers.checks(scene)]
    kept = [each for each in wanted if each.live or not live_only]
    return sorted(kept, key=lambda each: ROOMS.index(each.room))
