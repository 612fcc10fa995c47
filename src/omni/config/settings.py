"""From the configuration to the settings that the domain decides by; each of them enters the log.

A cloud is an entry of `providers`. One with a local address wants no key and counts as having both.
"""

from __future__ import annotations

from omni.config import repairs
from omni.config.executors import ExecutorConfig
from omni.config.model import Config, FaultHandler, Tier
from omni.domain import hops, values
from omni.domain.hops import LITELLM
from omni.domain.values import (
    PROXY,
    Budget,
    ExecutorSpec,
    HealthSettings,
    RepairSettings,
    RoutingSettings,
    Thresholds,
)

_DIALECTS = {"anthropic": ("messages",), "openrouter": ("chat", "responses"), "openai": ("chat", "responses")}
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound


def own_url(host: str, port: int) -> str:
    """The address at which programs on this machine reach the daemon that is bound to `host`."""
    host = _ANYWHERE.get(host.strip("[]"), host.strip("[]"))
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def routing_settings(config: Config, utc_offset_ms: int = 0) -> RoutingSettings:
    """The part of the configuration that routing decides by."""
    watched = health_settings(config)
    tiers = (t for t in config.model_tiers if t.runs_tasks)
    return RoutingSettings(
        executors=tuple(_spec(each) for each in config.executors.values()),
        tiers=tuple(values.Tier(t.name, t.light, t.heavy, t.cost == "paid") for t in tiers),
        complexity_threshold=config.router.complexity_threshold,
        budget=budget_settings(config, utc_offset_ms),
        watched=watched.proxy or bool(watched.clouds),
        tells_failures=config.notify.enabled and "failed" in config.notify.events,
    )


def budget_settings(config: Config, utc_offset_ms: int = 0) -> Budget:
    """The caps; `utc_offset_ms` is this machine's distance from UTC, so that a day begins at its owner's midnight."""
    budget = config.budget
    channels = {PROXY if name == LITELLM else name: usd for name, usd in budget.channel_usd.items()}
    return Budget(budget.daily_usd, budget.task_usd, budget.at_cap, utc_offset_ms, channels)


def health_settings(config: Config) -> HealthSettings:
    """What HealthMonitor watches: the proxy where there is one, and every cloud with a usable definition."""
    clouds = [name for name, each in config.providers.items() if each.kind and each.api_base]
    return HealthSettings(
        proxy=bool(config.lite_llm_url),
        clouds=tuple(clouds),
        primary_keys=tuple(name for name in clouds if config.has_key(name, "primary")),
        backup_keys=tuple(name for name in clouds if config.has_key(name, "backup")),
        thresholds=_thresholds(config.fault_handler),
    )


def call_paths(config: Config) -> hops.Paths:
    """The ways that model calls may go."""
    return hops.Paths(
        proxy=bool(config.lite_llm_url),
        tiers=tuple(_rung(each) for each in config.model_tiers),
        providers=tuple(_provider(config, name) for name in config.providers),
    )


def repair_settings(config: Config) -> RepairSettings:
    """How the proxy is repaired: by whom, how often, and what that task may do where it is kept to anything."""
    rules, kept = config.fault_handler, repairs.is_kept(config)
    return RepairSettings(
        executor=repairs.repairer(config),
        where=_without_login(config.lite_llm_url),
        attempts=rules.repair_attempts,
        backoff_ms=_ms(rules.repair_backoff_s),
        backoff_cap_ms=_ms(rules.repair_backoff_cap_s),
        budget_usd=config.budget.task_usd,
        kept=kept,
        commands=repairs.commands(config) if kept else (),
        logs=config.repair.logs if kept else (),
    )


def _rung(tier: Tier) -> hops.Rung:
    return hops.Rung(tier.name, tier.light, tier.heavy, tier.cost == "paid", tier.channel, tier.runs_tasks)


def _provider(config: Config, name: str) -> hops.Provider:
    known = config.providers[name]
    return hops.Provider(
        name=name,
        dialects=_DIALECTS.get(known.kind or "", ()),
        models=known.models,
        default_model=known.default_model,
        primary=config.has_key(name, "primary"),
        backup=config.has_key(name, "backup"),
    )


def _without_login(url: str) -> str:
    """The address as it may stand in the log: without a name and password in it."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _thresholds(rules: FaultHandler) -> Thresholds:
    return Thresholds(
        proxy_every_ms=_ms(rules.proxy_check_interval_s),
        proxy_timeout_ms=_ms(rules.lite_llm_timeout),
        proxy_confirm_ms=_ms(rules.proxy_confirm_delay_s),
        proxy_failures=rules.consecutive_failures,
        proxy_successes=rules.proxy_recovery_successes,
        proxy_recent_ms=_ms(rules.proxy_recent_success_s),
        rate_percent=rules.failure_rate_percent,
        rate_window=rules.failure_rate_window,
        rate_minimum=rules.failure_rate_minimum,
        dwell_ms=_ms(rules.dwell_s),
        dwell_cap_ms=_ms(rules.dwell_cap_s),
        cloud_every_ms=_ms(rules.check_interval),
        cloud_timeout_ms=_ms(rules.cloud_check_timeout),
        cloud_failures=rules.cloud_failure_threshold,
        cloud_span_ms=_ms(rules.cloud_failure_span_s),
        cloud_successes=rules.cloud_recovery_successes,
        cloud_successes_cap=rules.cloud_recovery_cap,
        jump_ms=_ms(rules.clock_jump_s),
        grace_ms=_ms(rules.clock_grace_s),
    )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds else 0


def _spec(executor: ExecutorConfig) -> ExecutorSpec:
    everything = () if executor.keywords else ("general",)  # a lone server without any rule takes what comes
    return ExecutorSpec(
        name=executor.name,
        types=executor.types or everything,
        keywords=executor.keywords,
        local=executor.local,
        gpu=executor.gpu,
        always_on=executor.always_on,
        needs_cloud=executor.needs_cloud,
        max_concurrency=executor.max_concurrency,
        timeout_ms=int(executor.timeout_s * 1000),
        idle_timeout_ms=int(executor.idle_timeout_s * 1000),
        on_crash=executor.on_crash,
        unavailable="" if executor.enabled else "disabled in the configuration",
    )
