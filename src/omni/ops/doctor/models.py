"""The ways to models: the proxy, each provider with each of its keys, and the model on this machine.

Every question is free: liveliness, a list of models, the state of a key. No key is ever part of what is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase

from omni.config import Provider
from omni.config.model import KEY_ROLES, KeyRole
from omni.domain.hops import LITELLM
from omni.domain.verdict import Verdict
from omni.llm.classify import of_cloud_answer
from omni.llm.probes import ping_headers, ping_url, proxy_url
from omni.ops.asking import Answer, get
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.log import set_clock
from omni.ops.doctor.looking import Check
from omni.ops.doctor.scene import Scene

ROOM = "models"
PROXY_S, CLOUD_S, LOCAL_S = 5.0, 10.0, 3.0
SKEW_S = 60.0  # more than a slow answer; certificates and signed requests begin to fail at some minutes
_SHOWN = 8


def checks(scene: Scene) -> list[Check]:
    """A look at the proxy, at each provider and at the local model, as far as they are configured."""
    clouds = [name for name, each in scene.config.providers.items() if each.kind and each.api_base]
    looks = [Check(ROOM, "proxy", proxy, 2 * PROXY_S + 3, live=True)] if scene.config.lite_llm_url else []
    looks += [_provider_check(name) for name in clouds]
    if looks or any(t.runs_tasks and t.channel == "brainstem" for t in scene.config.model_tiers):
        looks.append(Check(ROOM, "ollama", ollama, LOCAL_S + 3, live=True))
    return looks


def proxy(scene: Scene) -> Iterator[Finding]:
    """The proxy lives, takes our key, and has the models that the tiers name."""
    config = scene.config
    where = proxy_url(config.lite_llm_url)
    alive = get(where, PROXY_S)
    if alive.problem or alive.status >= 500:
        says = f"the model proxy does not answer at {where}: {alive.why}"
        yield found("proxy.unreachable", says, "litellm --config PROXY_CONFIG, or correct lite_llm_url")
        return
    login = {"authorization": f"Bearer {config.lite_llm_key}"} if config.lite_llm_key else {}
    listed = get(where.replace("/health/liveliness", "/v1/models"), PROXY_S, login)
    yield from _proxy_models(scene, listed)


def _proxy_models(scene: Scene, listed: Answer) -> Iterator[Finding]:
    if listed.status in (400, 401, 403):
        said = "lite_llm_key" if scene.config.lite_llm_key else "a request without a key"
        says = f"the model proxy refuses {said}: HTTP {listed.status}"
        yield found(
            "proxy.key_refused", says, "set lite_llm_key (or its variable) to a key of the proxy; then omni doctor"
        )
        return
    models = _ids(listed)
    if models is None:
        yield found(
            "proxy.not_checked", "the model proxy lists no models, so the names were not compared", "omni status"
        )
        return
    absent = [each for each in _named(scene) if not any(fnmatchcase(each, known) for known in models)]
    for name in absent:
        known = ", ".join(models[:_SHOWN]) or "none"
        says = f"the model proxy has no model {name!r}; it has: {known}"
        yield found("proxy.model_unknown", says, "add it to the proxy's model_list, or correct `router` or `tiers`")
    if not absent:
        yield fine("proxy", f"answers, takes the key, and has every model that is named; {len(models)} models")


def _named(scene: Scene) -> list[str]:
    """The models that tasks ask the proxy for."""
    tiers = [t for t in scene.config.model_tiers if t.runs_tasks and t.channel == LITELLM]
    return list(dict.fromkeys(model for tier in tiers for model in (tier.light, tier.heavy) if model))


def _ids(answer: Answer) -> list[str] | None:
    """The ids of a list of models; None where the answer is none."""
    data = answer.member("data") if answer.status == 200 else None
    return (
        [str(each["id"]) for each in data if isinstance(each, dict) and "id" in each]
        if isinstance(data, list)
        else None
    )


# --- providers --------------------------------------------------------------------------------------------------------


def _provider_check(name: str) -> Check:
    return Check(ROOM, name, lambda scene: provider(scene, name), 2 * CLOUD_S + 3, live=True)


def provider(scene: Scene, name: str) -> Iterator[Finding]:
    """Each key of a provider, by a question that costs nothing; and this machine's clock against theirs."""
    known = scene.config.providers[name]
    if scene.config.lite_llm_url and not scene.config.has_key(name, "backup"):
        says = f"{name} has no backup key: it cannot stand in when the proxy is down"
        yield found("provider.no_backup_key", says, f"set api_keys.backup.{name}")
    for role, key in _keys(scene, name):
        answer = get(ping_url(known), CLOUD_S, ping_headers(known, key))
        yield from _judged(name, known, role, answer)
        if answer.problem:
            return
        yield from _skew(scene, name, answer)


def _keys(scene: Scene, name: str) -> list[tuple[KeyRole | None, str]]:
    """Each key once, as the backup of many is their primary; a local provider is asked without one."""
    keys = scene.config.api_keys
    by_role = {role: (keys.primary if role == "primary" else keys.backup).get(name, "") for role in KEY_ROLES}
    found_ = [(role, key) for role, key in by_role.items() if key]
    return list(found_) or ([(None, "")] if scene.config.providers[name].is_local else [])


def _judged(name: str, known: Provider, role: KeyRole | None, answer: Answer) -> Iterator[Finding]:
    if answer.problem:
        says = f"{name} does not answer at {known.api_base}: {answer.problem}"
        yield found("provider.unreachable", says, f"curl -sI {known.api_base}")
        return
    what = f"the {role} key of {name}" if role else name
    if answer.status < 400:
        yield fine(f"provider.{name}.{role or 'open'}", f"{what} is accepted")
        return
    verdict, _, _ = of_cloud_answer(answer.status, answer.headers, b"")
    kind, mend = _REFUSALS.get(verdict, ("provider.unreachable", "omni doctor, in a minute"))
    says = f"{what}: {_SAYS.get(verdict, 'a trouble of theirs')} (HTTP {answer.status})"
    yield found(kind, says, mend.format(role=role or "primary", name=name))


_REFUSALS = {
    Verdict.KEY_REJECTED: (
        "provider.key_refused",
        "set api_keys.{role}.{name} to a key that is valid; then omni doctor",
    ),
    Verdict.OUT_OF_CREDIT: ("provider.no_credit", "buy credit at {name}, or set another api_keys.{role}.{name}"),
    Verdict.RATE_LIMITED: ("provider.limited", "omni doctor, in a minute"),
}
_SAYS = {
    Verdict.KEY_REJECTED: "refused",
    Verdict.OUT_OF_CREDIT: "no credit left",
    Verdict.RATE_LIMITED: "its rate is limited now",
}


def _skew(scene: Scene, name: str, answer: Answer) -> Iterator[Finding]:
    """This machine's clock against the Date of an answer."""
    try:
        theirs_ms = parsedate_to_datetime(answer.headers.get("date", "")).timestamp() * 1000
    except ValueError:
        return
    off_s = (scene.machine.wall_ms() - theirs_ms) / 1000
    if abs(off_s) > SKEW_S:
        says = f"this clock is {abs(off_s):,.0f} s {'ahead of' if off_s > 0 else 'behind'} that of {name}"
        yield found("clock.skewed", says, set_clock(scene.machine.platform))


# --- the model on this machine ----------------------------------------------------------------------------------------


def ollama(scene: Scene) -> Iterator[Finding]:
    """Whether the model that is woken without a cloud is there."""
    config = scene.config.brainstem
    base = config.api_base.rstrip("/").removesuffix("/v1")
    answer = get(f"{base}/api/tags", LOCAL_S)
    listed = answer.member("models")
    if not isinstance(listed, list):
        says = f"no Ollama answers at {base}: {answer.why}; {config.model} cannot be woken when the cloud is gone"
        yield found("ollama.unreachable", says, "ollama serve")
        return
    names = [str(each.get("name")) for each in listed if isinstance(each, dict)]
    if config.model in names or f"{config.model}:latest" in names:
        yield fine("ollama", f"{config.model} is there")
        return
    says = f"Ollama at {base} does not have {config.model}; it has: {', '.join(names[:_SHOWN]) or 'none'}"
    yield found("ollama.model_absent", says, f"ollama pull {config.model}")
