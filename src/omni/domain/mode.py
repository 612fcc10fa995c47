"""The mode as a function of health, and the words that go with a change of it.

    BRAINSTEM  operator         a person asked for it
    BRAINSTEM  network, cloud   clouds are configured, and every one is down; network: each by this machine's own fault
    BRAINSTEM  no_path          the proxy is down, and no cloud is up that has a good backup key
    DEGRADED   proxy            the proxy is down
    NORMAL                      otherwise

Nobody sets the mode. `change` says what has to be written down so that the recorded mode is the derived one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from omni.domain import events as ev
from omni.domain.health import Health, explain
from omni.domain.values import Cause, Evidence, Millis, Mode

EVIDENCE_OF_A_MODE = 10

_Observations: TypeAlias = tuple[Evidence, ...]


class Derived(NamedTuple):
    """What health amounts to."""

    mode: Mode
    cause: Cause = ""


NORMAL = Derived("NORMAL")


def derive(health: Health, at: Millis) -> Derived:
    """The mode of this health. `at` is wall-clock milliseconds: a key's cooldown may be over."""
    clouds = health.clouds.values()
    if health.forced:
        return Derived("BRAINSTEM", "operator")
    if clouds and all(cloud.state == "down" for cloud in clouds):
        return Derived("BRAINSTEM", "network" if all(cloud.network for cloud in clouds) else "cloud")
    if health.proxy.state != "down":
        return NORMAL
    return Derived("DEGRADED", "proxy") if any(_direct(health, at)) else Derived("BRAINSTEM", "no_path")


def change(health: Health, at: Millis) -> ev.ModeChanged | None:
    """What is to be written down for the recorded mode to be the derived one; None when it is."""
    derived, recorded = derive(health, at), Derived(health.mode, health.cause)
    if derived == recorded:
        return None
    return ev.ModeChanged(
        recorded.mode,
        derived.mode,
        derived.cause,
        _reason(health, derived, recorded, at),
        _evidence(health, derived, recorded),
    )


def _direct(health: Health, at: Millis) -> Iterable[str]:
    """Clouds that can be called without the proxy."""
    return (
        name for name, cloud in health.clouds.items() if cloud.state == "up" and health.key(name, "backup").good(at)
    )


# --- in plain words -------------------------------------------------------------------------------------------------


def _reason(health: Health, derived: Derived, recorded: Derived, at: Millis) -> str:
    match derived.cause:
        case "operator":
            return f"asked for by {health.forced_by or 'a person'}"
        case "network":
            return f"this machine reaches no network: {_down_clouds(health)}"
        case "cloud":
            return f"no cloud can be reached: {_down_clouds(health)}"
        case "no_path":
            return f"the LiteLLM proxy is down ({explain(health.proxy.evidence)}), and {_no_path(health, at)}"
        case "proxy":
            return f"the LiteLLM proxy is down ({explain(health.proxy.evidence)})"
        case _:
            return _recovered(health, recorded)


def _down_clouds(health: Health) -> str:
    return ", ".join(f"{name} ({explain(cloud.evidence)})" for name, cloud in health.clouds.items())


def _no_path(health: Health, at: Millis) -> str:
    if not health.clouds:
        return "no cloud is configured"
    return "no cloud can be called directly: " + ", ".join(
        f"{name} is down"
        if cloud.state == "down"
        else f"the backup key of {name} is {health.key(name, 'backup').state}"
        for name, cloud in health.clouds.items()
    )


def _recovered(health: Health, recorded: Derived) -> str:
    match recorded.cause:
        case "operator":
            return f"{health.forced_by or 'a person'} gave the decision back"
        case "proxy" | "no_path" if health.proxy.state == "up":
            return "the LiteLLM proxy answers again"
        case "network" | "cloud" if up := [name for name, cloud in health.clouds.items() if cloud.state == "up"]:
            return f"{', '.join(up)} can be reached again"
        case _:
            return "the configuration has changed"


# --- what led to it -------------------------------------------------------------------------------------------------


def _evidence(health: Health, derived: Derived, recorded: Derived) -> tuple[Evidence, ...]:
    """The observations behind the components that the new cause and the old one are about."""
    told = [each for of in _ABOUT if {derived.cause, recorded.cause} & of for each in _ABOUT[of](health)]
    each = max(1, EVIDENCE_OF_A_MODE // max(1, len(told)))
    return tuple(evidence for known in told for evidence in known[-each:])


def _of_proxy(health: Health) -> list[_Observations]:
    return [health.proxy.evidence] if health.proxy.evidence else []


def _of_clouds(health: Health) -> list[_Observations]:
    return [cloud.evidence for cloud in health.clouds.values() if cloud.evidence]


def _of_keys(health: Health) -> list[_Observations]:
    return [key.evidence for key in health.keys.values() if key.evidence]


_ABOUT: dict[frozenset[Cause], Callable[[Health], list[_Observations]]] = {
    frozenset({"proxy", "no_path"}): _of_proxy,
    frozenset({"network", "cloud", "no_path"}): _of_clouds,
    frozenset({"no_path"}): _of_keys,
}
