"""Where a model call may go, and in which order: one hop is one channel, one model and one key.

Theory of operation. The tiers that run tasks make a ladder; the rung that the caller's model belongs to comes first,
and a model that no tier knows is a rung of its own, under its own name. Each rung has ways to it, by mode:

    NORMAL      the rung's own channel: the proxy, a provider with its primary key, or the model on this machine
    DEGRADED    every provider with its backup key, those that speak the caller's dialect first
    BRAINSTEM   the model on this machine, where a tier lets it run tasks; no cloud at all

When the proxy failed inside a call, the rest of that call goes by DEGRADED's rules before the mode does; so does every
call of a `direct` caller, who is there to mend the proxy. Without a proxy NORMAL goes to the providers with their
primary keys. Of these ways some are left out, each with a reason: the cloud is down, the key is not good, nobody has
said what the model is called there. An open breaker (the model was limited or failed too often) leaves a way out only
while there is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from omni.domain.commands import ComponentReport, HealthReported, NoteMode
from omni.domain.values import LOCAL_MODEL, PROXY, KeyRole, Millis

LITELLM = "litellm"  # how the configuration calls the proxy's channel
ANY_MODEL = frozenset({"", "auto", "omni"})
UNTOLD = HealthReported(NoteMode("NORMAL"), ())  # before HealthMonitor's first word


class Hop(msgspec.Struct, frozen=True, gc=False):
    """One way for a model call. `channel`: `PROXY`, `LOCAL_MODEL`, or the name of a provider.

    `model` is what is asked for there. `key`: which of the cloud's keys, None where the channel has one of its own.
    """

    channel: str
    model: str = ""
    key: KeyRole | None = None
    tier: str = ""
    paid: bool = False


class Rung(msgspec.Struct, frozen=True, gc=False):
    """One tier. `channel`: `LITELLM`, `LOCAL_MODEL`, or the name of a provider."""

    name: str = ""
    light: str = ""
    heavy: str = ""
    paid: bool = False
    channel: str = LITELLM
    runs_tasks: bool = True


class Provider(msgspec.Struct, frozen=True):
    """One cloud. `dialects` are those it speaks itself; `models` says what a model is called there."""

    name: str
    dialects: tuple[str, ...] = ()
    models: dict[str, str] = {}
    default_model: str = ""
    primary: bool = False
    backup: bool = False


class Paths(msgspec.Struct, frozen=True):
    """The ways that a configuration has, tiers and providers in its order."""

    proxy: bool = False
    tiers: tuple[Rung, ...] = ()
    providers: tuple[Provider, ...] = ()

    @property
    def model_names(self) -> list[str]:
        """`auto`, and the models of all tiers that run tasks: what a caller may name."""
        tiers = (tier for tier in self.tiers if tier.runs_tasks)
        return list(dict.fromkeys(["auto", *(name for tier in tiers for name in (tier.light, tier.heavy) if name)]))


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What the caller named: a model, a tier, or neither (`ANY_MODEL`). `direct`: never through the proxy."""

    dialect: str
    model: str = ""
    direct: bool = False


class LeftOut(msgspec.Struct, frozen=True, gc=False):
    """A way that cannot be taken now, and why; `until` when that is known, `for_good` if only a person can mend it."""

    hop: Hop
    reason: str
    until: Millis | None = None
    for_good: bool = False

    def __str__(self) -> str:
        return f"{self.hop.channel}{f' ({self.hop.model})' if self.hop.model else ''}: {self.reason}"


class Plan(msgspec.Struct, frozen=True):
    """The hops in the order in which to try them, and the ways that are left out."""

    hops: tuple[Hop, ...]
    left_out: tuple[LeftOut, ...] = ()


def plan(
    asked: Asked, paths: Paths, health: HealthReported = UNTOLD, at: Millis = 0, *, proxy_lost: bool = False
) -> Plan:
    """Order the hops of one call. `at` is wall-clock milliseconds; `proxy_lost`: the proxy failed inside this call."""
    sight = _Sight(health, at)
    ladder = _ladder(asked, paths.tiers)
    if health.mode.mode == "BRAINSTEM":
        return _sift((LeftOut(hop, "") for hop in _local(ladder)), sight)
    lost = paths.proxy and (asked.direct or proxy_lost or health.mode.mode == "DEGRADED" or sight.is_down(PROXY, PROXY))
    ways = (way for rung in ladder for way in _ways(rung, asked, paths, lost=lost))
    return _sift(ways, sight)


def named(asked: Asked, tiers: Sequence[Rung]) -> Rung | None:
    """The tier that runs tasks and that the caller's model belongs to; the first for a caller who leaves it open."""
    able = [t for t in tiers if t.runs_tasks]
    if asked.model in ANY_MODEL:
        return able[0] if able else None
    return next((t for t in able if asked.model in {t.name, t.light, t.heavy}), None)


# --- the ladder -----------------------------------------------------------------------------------------------------


def _ladder(asked: Asked, tiers: Sequence[Rung]) -> list[Rung]:
    """The rungs in the order of this call, each with the model to ask for in `light`; empty when nobody names one."""
    first = named(asked, tiers)
    own = "" if asked.model in ANY_MODEL or any(asked.model == t.name for t in tiers) else asked.model
    heavy = first is not None and own == first.heavy != first.light and bool(own)
    rest = [_settled(t, own, heavy=heavy) for t in tiers if t.runs_tasks and t is not first]
    if first is not None:
        return [_settled(first, own, heavy=heavy), *rest]
    return [*([Rung(light=own, paid=True)] if own else []), *rest]  # nobody says that an unknown model is free


def _settled(tier: Rung, own: str, *, heavy: bool) -> Rung:
    return msgspec.structs.replace(tier, light=(tier.heavy if heavy else tier.light) or tier.light or tier.heavy or own)


def _local(ladder: Iterable[Rung]) -> Iterator[Hop]:
    return (Hop(LOCAL_MODEL, rung.light, None, rung.name) for rung in ladder if rung.channel == LOCAL_MODEL)


# --- ways to a rung -------------------------------------------------------------------------------------------------


def _ways(rung: Rung, asked: Asked, paths: Paths, *, lost: bool) -> Iterator[LeftOut]:
    """Every way to a rung, with the reason that the configuration alone gives against it, if any."""
    if rung.channel == LOCAL_MODEL:
        yield from (LeftOut(hop, "") for hop in _local((rung,)))
    elif rung.channel == LITELLM and paths.proxy and not lost:
        hop = Hop(PROXY, rung.light, None, rung.name, rung.paid)
        nameless = "" if rung.light else f"neither the caller nor tier {rung.name} names a model"
        yield LeftOut(hop, nameless, for_good=bool(nameless))
    else:
        role: KeyRole = "backup" if lost else "primary"
        own = () if rung.channel == LITELLM or lost else (rung.channel,)
        yield from (_direct(each, rung, asked, role) for each in _native_first(paths, asked, own))


def _native_first(paths: Paths, asked: Asked, own: tuple[str, ...]) -> list[Provider]:
    able = [p for p in paths.providers if not own or p.name in own]
    return sorted(able, key=lambda p: asked.dialect not in p.dialects)  # stable: the order of the configuration


def _direct(provider: Provider, rung: Rung, asked: Asked, role: KeyRole) -> LeftOut:
    own = rung.channel == provider.name
    model = _called(provider, rung, asked, own=own)
    hop = Hop(provider.name, model, role, rung.name, rung.paid if own else True)
    for_good = role == "primary" or asked.direct  # backup keys stand in for a proxy, which comes back to all others
    if not (provider.backup if role == "backup" else provider.primary):
        return LeftOut(hop, f"there is no {role} key", for_good=for_good)
    nameless = "" if model else f"nobody says which model to use (providers.{provider.name}.default_model)"
    return LeftOut(hop, nameless, for_good=for_good and bool(nameless))


def _called(provider: Provider, rung: Rung, asked: Asked, *, own: bool) -> str:
    """What the model of a rung is called at a provider; empty when nobody says."""
    if rung.light in provider.models:
        return provider.models[rung.light]
    if own and rung.light:
        return rung.light
    foreign = "" if rung.name or asked.dialect not in provider.dialects else rung.light
    return provider.default_model or foreign


# --- what health says -----------------------------------------------------------------------------------------------


class _Sight:
    """Looks up what was reported of components; what nothing was reported of is taken to be well."""

    def __init__(self, health: HealthReported, at: Millis) -> None:
        self._known = {(each.kind, each.name): each for each in health.components}
        self._at = at

    def is_down(self, kind: str, name: str) -> bool:
        found = self._known.get((kind, name))
        return found is not None and found.state == "down"

    def against(self, hop: Hop) -> LeftOut | None:
        """Why a hop cannot be taken, whatever the others are like."""
        if self.is_down("cloud", hop.channel):
            return LeftOut(hop, "it is down")
        key = self._known.get(("key", f"{hop.channel}/{hop.key}"))
        if key is None or key.state == "ok" or self._over(key):
            return None
        return LeftOut(hop, f"its {hop.key} key is {key.state}", key.until)

    def breaker(self, hop: Hop) -> LeftOut | None:
        """Why a hop is better not taken while there is another."""
        found = self._known.get(("breaker", f"{hop.channel}/{hop.model}"))
        if found is None or found.state != "open" or self._over(found):
            return None
        return LeftOut(hop, found.reason or "it is left alone for a while", found.until)

    def _over(self, found: ComponentReport) -> bool:
        return found.until is not None and found.until <= self._at


def _sift(ways: Iterable[LeftOut], sight: _Sight) -> Plan:
    seen: set[tuple[str, str, KeyRole | None]] = set()
    hops: list[Hop] = []
    limited: list[LeftOut] = []
    out: list[LeftOut] = []
    for way in ways:
        hop = way.hop
        if (hop.channel, hop.model, hop.key) in seen:
            continue
        seen.add((hop.channel, hop.model, hop.key))
        reason = way if way.reason else sight.against(hop)
        if reason:
            out.append(reason)
        elif breaker := sight.breaker(hop):
            limited.append(breaker)
        else:
            hops.append(hop)
    if hops:
        return Plan(tuple(hops), (*out, *limited))
    limited.sort(key=lambda each: each.until or 0)
    return Plan(tuple(each.hop for each in limited), tuple(out))
