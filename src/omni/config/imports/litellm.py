"""A LiteLLM proxy's configuration: its models to `providers`, `api_keys` and `tiers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omni.config.imports.plan import Plan, is_written_out
from omni.config.listed import LOCAL, Deployment, deployment, name_for
from omni.config.model import PUBLIC_API_BASES, BrainstemConfig, Config, Provider
from omni.config.prices import Price, on_channel, read_list
from omni.domain.values import Usage

DEFAULT_PROXY = "http://127.0.0.1:4000"
_FROM = "os.environ/"
_READ = frozenset(("model", "api_base", "base_url", "api_key", "custom_llm_provider"))  # what `deployment` reads
_ROUND = Usage(input_tokens=1000, output_tokens=1000)
_DAY = frozenset(("1d", "24h"))
_OWN = {
    "litellm_settings": "it is the proxy's own",
    "router_settings": "it is the proxy's own; Omni orders the ways of a call itself",
    "general_settings": "it is the proxy's own",
    "environment_variables": "set it where omni serve runs, if something here needs it",
}


def take(plan: Plan, document: Mapping[str, Any], config: Config) -> None:
    """Add a proxy's models, keys and cap to the plan, or say why something does not come along."""
    reader = _Reader(plan, _aliases(document), config.providers)
    for index, entry in enumerate(document["model_list"]):
        reader.entry(index, entry)
    reader.finish()
    _settings(plan, document)
    if not config.lite_llm_url:
        where = f"lite_llm_url: {DEFAULT_PROXY}, lite_llm_key: its master key"
        plan.notes.append(f"if the proxy goes on running, name it: {where}")


def _aliases(document: Mapping[str, Any]) -> dict[str, list[str]]:
    """Other names of models, by the name that they stand for."""
    settings = document.get("router_settings")
    said = settings.get("model_group_alias") if isinstance(settings, dict) else None
    found: dict[str, list[str]] = {}
    for alias, target in said.items() if isinstance(said, dict) else ():
        name = target.get("model") if isinstance(target, dict) else target
        found.setdefault(str(name), []).append(str(alias))
    return found


class _Reader:
    """Collects what the entries of one `model_list` say."""

    def __init__(self, plan: Plan, aliases: Mapping[str, list[str]], known: Mapping[str, Provider]) -> None:
        self._plan = plan
        self._aliases = aliases
        self._providers: dict[str, dict[str, Any]] = {}
        self._known = known
        self._homes = {(each.kind, each.api_base.rstrip("/")): name for name, each in known.items()}
        self._keys: dict[str, str] = {}
        self._said: dict[str, str] = {}  # the same keys as the file says them
        self._models: dict[str, list[Deployment]] = {}
        self._local: list[str] = []

    def entry(self, index: int, entry: Any) -> None:
        """Take one deployment."""
        where = f"model_list[{index}]"
        found = deployment(entry) if isinstance(entry, dict) else Deployment(reason="it is not a mapping")
        where = f"{where} ({found.name})" if found.name else where
        if found.prefix in LOCAL and found.model:
            self._take_local(where, entry, found)
        elif found.reason or not found.name:
            self._plan.leave(where, found.reason or "it has no model_name")
        else:
            self._take(where, index, entry, found)

    def _take(self, where: str, index: int, entry: Mapping[str, Any], found: Deployment) -> None:
        name = self._home(index, found)
        models = self._providers[name].setdefault("models", {})
        if models.get(found.name, found.model) != found.model:
            self._plan.leave(where, f"{name} has another model of that name already: {models[found.name]}")
            return
        for each in (found.name, *self._aliases.get(found.name, ())):
            models[each] = found.model
        self._models.setdefault(found.name, []).append(found)
        self._key(where, name, found)
        for key in entry["litellm_params"].keys() - _READ:
            self._plan.leave(f"{where}.litellm_params.{key}", "it is the proxy's own")

    def _home(self, index: int, found: Deployment) -> str:
        place = (found.kind, found.api_base)
        taken = {**self._known, **self._providers}
        name = self._homes.get(place) or name_for(found, taken, hidden="${" in found.api_base, index=index)
        self._homes[place] = name
        usual = name in self._known or PUBLIC_API_BASES.get(name) == found.api_base
        self._providers.setdefault(name, {} if usual else {"kind": found.kind, "api_base": found.api_base})
        return name

    def _key(self, where: str, name: str, found: Deployment) -> None:
        usual = f"{found.prefix}_API_KEY".upper()
        if not found.key and (name in self._keys or found.provider.is_local):
            return
        key = found.key or f"${{{usual}}}"
        if self._said.setdefault(name, key) != key:
            self._plan.leave(f"{where}.litellm_params.api_key", f"{name} has one primary key, the one that comes first")
        elif name not in self._keys:
            variable = usual if name == found.prefix else f"{name}_API_KEY"
            self._keys[name] = self._reference(key, variable, f"{where}.litellm_params.api_key")

    def _reference(self, key: str, variable: str, where: str) -> str:
        if key.startswith(_FROM):
            return f"${{{key.removeprefix(_FROM)}}}"
        return self._plan.hide(key, variable, where) if is_written_out("api_key", key) else key

    def _take_local(self, where: str, entry: Mapping[str, Any], found: Deployment) -> None:
        if self._local:
            self._plan.leave(where, f"Omni has one model in Ollama, and {self._local[0]} comes first")
            return
        self._local.append(found.model)
        said = {"model": found.model}
        base = str(entry["litellm_params"].get("api_base") or "").rstrip("/")
        if base and base != BrainstemConfig().api_base:
            said = {"api_base": base, **said}
        self._plan.add["brainstem"] = said
        self._plan.notes.append(f"{where}: answers tasks only by a tier whose channel is brainstem")

    def finish(self) -> None:
        """Put the parts into the plan, in the order of a file."""
        if self._keys:
            self._plan.add["api_keys"] = {"primary": self._keys}
            self._plan.notes.append(
                "the keys are primary ones; api_keys.backup names those for the time when a proxy is down"
            )
        if self._providers:
            self._plan.add["providers"] = self._providers
        if tiers := self._tiers():
            self._plan.add["tiers"] = tiers

    def _tiers(self) -> list[dict[str, Any]]:
        """The cheapest model first, the dearest one for what is hard; nothing where somebody has to choose."""
        if not self._models:
            local = self._local[0] if self._local else ""
            return [{"name": "P1", "light": local, "channel": "brainstem"}] if local else []
        costs = {name: _cost(found) for name, found in self._models.items()}
        known = {name: cost for name, cost in costs.items() if cost is not None}
        if len(known) < len(costs) and len(costs) > 1:
            names = ", ".join(costs)
            self._plan.notes.append(
                f"not every price is known: name a model for light and one for heavy tasks under router, of {names}"
            )
            return []
        light = min(known, key=known.__getitem__, default=next(iter(costs)))
        heavy = max(known, key=known.__getitem__, default=light)
        self._plan.notes.append(
            f"tiers: {light} is the cheapest and {heavy} the dearest by LiteLLM's own list of prices"
        )
        tiers = [("P1", light, "free" if known.get(light) == 0 else "paid"), ("P2", heavy, "paid")]
        made = [{"name": tier, "light": name, "heavy": name, "cost": cost} for tier, name, cost in tiers]
        return made if light != heavy else made[:1]


def _cost(found: list[Deployment]) -> float | None:
    """What a thousand tokens each way cost at the first deployment; None where nobody knows."""
    first = found[0]
    if first.model.endswith(":free"):
        return 0.0
    price: Price | None = on_channel(_prices(), {first.prefix: first.prefix}, first.prefix, first.model)
    return price.of(_ROUND) if price else None


_KNOWN: dict[str, Price] = {}


def _prices() -> Mapping[str, Price]:
    if not _KNOWN:
        _KNOWN.update(read_list())
    return _KNOWN


def _settings(plan: Plan, document: Mapping[str, Any]) -> None:
    """What is said beside the models: a cap for a day is ours too; all else stays the proxy's."""
    settings = document.get("litellm_settings")
    settings = settings if isinstance(settings, dict) else {}
    cap = settings.get("max_budget")
    capped = isinstance(cap, int | float) and cap > 0 and settings.get("budget_duration") in _DAY
    if capped:
        plan.add["budget"] = {"daily_usd": cap}
    taken = {"max_budget", "budget_duration"} if capped else set()
    taken_from = {"litellm_settings": taken, "router_settings": {"model_group_alias"}}
    for section, why in _OWN.items():
        said = document.get(section)
        for key in said if isinstance(said, dict) else ():
            if key not in taken_from.get(section, ()):
                plan.leave(f"{section}.{key}", why)
    for key in document.keys() - {"model_list", *_OWN, "mcpServers", "servers"}:
        why = "import the files that it names one by one" if key == "include" else "Omni has nothing like it"
        plan.leave(str(key), why)
