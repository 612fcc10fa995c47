"""The configuration as frozen records: every key a file may hold, with its default and bounds."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from omni.config.addresses import is_local
from omni.config.executors import (
    SYSTEM_REPORT,
    ExecutorConfig,
    McpServer,
    Models,
    RunbookCommand,
    Seconds,
    derive_executors,
    derive_memory,
    for_repairs,
)
from omni.config.intake import IntakeConfig
from omni.config.notify import NotifyConfig
from omni.config.repairs import RepairConfig

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Percent = Annotated[int, Meta(ge=0, le=100)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Port = Annotated[int, Meta(ge=0, le=65535)]

DEFAULT_BRAINSTEM_MODEL = "qwen2.5:7b"
LOCAL_CHANNEL = "brainstem"
KeyRole: TypeAlias = Literal["primary", "backup"]
KEY_ROLES: tuple[KeyRole, ...] = ("primary", "backup")
PUBLIC_API_BASES = {
    "anthropic": "https://api.anthropic.com",
    "openrouter": "https://openrouter.ai/api/v1",
    "openai": "https://api.openai.com/v1",
}


# For a provider of which nobody says what its models are called: a name that its whole generation answers to.
DEFAULT_MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "openrouter": "openrouter/auto",
    "openai": "gpt-4o-mini",
}


class ApiKeys(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys by provider: `primary` in NORMAL, `backup` in DEGRADED."""

    primary: dict[str, str] = {}
    backup: dict[str, str] = {}


class FaultHandler(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a component counts as down, and when as up again. Names without a unit are seconds or counts."""

    lite_llm_timeout: Seconds = 1.0
    consecutive_failures: Count = 2
    cloud_failure_threshold: Count = 3
    cloud_check_timeout: Seconds = 10.0
    check_interval: Seconds = 30.0
    brainstem_model: str = ""
    proxy_check_interval_s: Seconds = 2.0
    proxy_confirm_delay_s: Seconds = 0.5
    proxy_recovery_successes: Count = 2
    proxy_recent_success_s: Seconds = 10.0
    failure_rate_percent: Percent = 50
    failure_rate_window: Count = 10
    failure_rate_minimum: Count = 5
    dwell_s: Seconds = 15.0
    dwell_cap_s: Seconds = 600.0
    cloud_failure_span_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    cloud_recovery_successes: Count = 2
    cloud_recovery_cap: Count = 6
    clock_jump_s: Seconds = 5.0
    clock_grace_s: Seconds = 20.0
    repair_attempts: Annotated[int, Meta(ge=0, le=100)] = 5
    repair_backoff_s: Seconds = 60.0
    repair_backoff_cap_s: Seconds = 600.0


class RouterConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model a task gets; an empty model name leaves the choice to the executor."""

    complexity_threshold: Percent = 50
    lightweight_model: str = ""
    heavyweight_model: str = ""


class Provider(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A cloud that DEGRADED calls and BRAINSTEM pings. Loading fills in `kind`, `api_base` and a `default_model`."""

    kind: Literal["anthropic", "openrouter", "openai"] | None = None
    api_base: str = ""
    models: dict[str, str] = {}
    default_model: str = ""
    ping: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine or in a private network, and so wants no key."""
        from urllib.parse import urlsplit

        return is_local(urlsplit(self.api_base).hostname or "")


class BrainstemConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The local model that is woken when the cloud is gone. `model` is never empty after loading."""

    api_base: str = "http://127.0.0.1:11434"
    model: str = ""


class BudgetConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spending caps; None is no cap. `channel_usd`: for each day, by the name of a tier or channel."""

    daily_usd: Usd | None = None
    task_usd: Usd | None = None
    channel_usd: dict[str, Usd] = {}
    at_cap: Literal["hold", "degrade", "ask"] = "hold"


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the door lets in, and what a start and a stop may take.

    `requests_per_minute`: per client address; `open_tasks`: of all clients together; `drain_s`: what runs may take to
    end at a stop; `crash_loop_starts`: within ten minutes, more of them pause dispatch; 0: they never do.
    """

    connections: Count = 64
    connections_before_login: Count = 8
    frame_bytes: Annotated[int, Meta(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    frame_queue: Count = 8
    nesting: Annotated[int, Meta(ge=4, le=500)] = 64
    open_timeout_s: Seconds = 5.0
    failed_logins_per_minute: Count = 5
    requests_per_minute: Count = 1_000_000
    open_tasks: Count = 10_000
    drain_s: Annotated[float, Meta(ge=0, le=600)] = 5.0
    crash_loop_starts: Annotated[int, Meta(ge=0, le=100)] = 5


class Tier(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model channel. `channel` is `litellm` (the proxy), `brainstem`, or the name of a provider."""

    name: str
    light: str = ""
    heavy: str = ""
    cost: Literal["free", "paid"] = "free"
    channel: str = "litellm"
    runs_tasks: bool = True


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """The whole configuration. After `load` paths are absolute and every derived default is filled in."""

    host: str = "127.0.0.1"
    port: Port = 18765
    allowed_hosts: tuple[str, ...] = ()
    data_dir: str = ""
    trust_file_system: bool = False
    auth: Literal["token", "none"] = "token"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    language: Literal["en", "zh"] = "en"
    allowed_workdirs: tuple[str, ...] = ("~",)
    lite_llm_url: str = ""
    lite_llm_key: str = ""
    github_key: str = ""
    api_keys: ApiKeys = ApiKeys()
    model_list: tuple[dict[str, Any], ...] = ()
    litellm_settings: dict[str, Any] = {}
    providers: dict[str, Provider] = {}
    brainstem: BrainstemConfig = BrainstemConfig()
    fault_handler: FaultHandler = FaultHandler()
    router: RouterConfig = RouterConfig()
    tiers: tuple[Tier, ...] = ()
    budget: BudgetConfig = BudgetConfig()
    repair: RepairConfig = RepairConfig()
    notify: NotifyConfig = NotifyConfig()
    intake: IntakeConfig = IntakeConfig()
    limits: Limits = Limits()
    mcp_servers: dict[str, McpServer] = {}
    include_mcp_servers: tuple[str, ...] = ()
    runbook: dict[str, RunbookCommand] = {}
    secret_paths: tuple[str, ...] = ()
    """Where the file took a value from a variable, as `a/b/0`. Set by `load`; not a key of the file."""

    @cached_property
    def executors(self) -> dict[str, ExecutorConfig]:
        """The executors by name, in the order of the file."""
        found = derive_executors(self.mcp_servers, self.runbook, self.models)
        return {name: for_repairs(each, self.repair.commands, self.repair.logs) for name, each in found.items()}

    @cached_property
    def memory(self) -> ExecutorConfig | None:
        """The memory that tasks may use, where there is one."""
        return derive_memory(self.mcp_servers)

    @cached_property
    def models(self) -> Models:
        """Whether a model can be reached: through the proxy, at a provider, or on this machine."""
        channels = {tier.channel for tier in self.model_tiers if tier.runs_tasks}
        local = LOCAL_CHANNEL in channels
        elsewhere = bool(self.lite_llm_url) or any(self.is_usable(name) for name in self.providers)
        return Models(reachable=elsewhere or local, local_only=channels == {LOCAL_CHANNEL})

    def is_usable(self, provider: str) -> bool:
        """Whether a provider can be called at all: it has a key, or a local address, where none is wanted."""
        return any(self.has_key(provider, role) for role in KEY_ROLES)

    def has_key(self, provider: str, role: KeyRole) -> bool:
        """Whether a provider can be called in this role: primary in NORMAL, backup in DEGRADED."""
        known = self.providers.get(provider)
        keys = self.api_keys.primary if role == "primary" else self.api_keys.backup
        return known is not None and bool(keys.get(provider) or known.is_local)

    @cached_property
    def messenger(self) -> str:
        """The executor through which people are told, if there is such a one."""
        executor = self.executors.get(self.notify.executor)
        return executor.name if executor and executor.enabled and executor.transport != "null" else ""

    @cached_property
    def runbook_commands(self) -> dict[str, RunbookCommand]:
        """The named commands; `system_report` when the file names none."""
        return self.runbook or {"system_report": SYSTEM_REPORT}

    @cached_property
    def model_tiers(self) -> tuple[Tier, ...]:
        """The tiers in order of preference: the file's, or P1 free, P2 paid and P3 local."""
        return self.tiers or default_tiers(self)


def default_tiers(config: Config) -> tuple[Tier, ...]:
    """Build P1, P2 and P3 from `router` and `brainstem`."""
    light, heavy = config.router.lightweight_model, config.router.heavyweight_model
    local = config.brainstem.model or DEFAULT_BRAINSTEM_MODEL
    return (
        Tier(name="P1", light=light, heavy=light, cost="free"),
        Tier(name="P2", light=heavy, heavy=heavy, cost="paid"),
        Tier(name="P3", light=local, heavy=local, cost="free", channel="brainstem", runs_tasks=False),
    )
