"""Omni as a service of this machine: launchd on macOS, the user's systemd on Linux, behind one small protocol."""

from omni.ops.service.launchd import Launchd
from omni.ops.service.manager import Manager, State, manager_here
from omni.ops.service.plan import Plan, make_plan
from omni.ops.service.systemd import Systemd

__all__ = ["Launchd", "Manager", "Plan", "State", "Systemd", "make_plan", "manager_here"]
