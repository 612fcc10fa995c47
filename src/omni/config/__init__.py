"""Omni's configuration: `load` reads it, `Config` is what everything else gets to see."""

from omni.config.addresses import is_loopback, url_problem
from omni.config.executors import (
    ADAPTERS,
    PLACEHOLDER,
    PLACEHOLDERS,
    SYSTEM_REPORT,
    ExecutorConfig,
    McpServer,
    RunbookCommand,
)
from omni.config.intake import IntakeConfig
from omni.config.load import Loaded, load, load_again, restore
from omni.config.model import (
    ApiKeys,
    BrainstemConfig,
    BudgetConfig,
    Config,
    FaultHandler,
    Limits,
    Provider,
    RouterConfig,
    Tier,
)
from omni.config.notify import EventGroup, NotifyConfig, QuietHoursConfig, WebhookConfig
from omni.config.paths import data_dir, log_path, token_path, user_file
from omni.config.redacted import config_hash, redacted
from omni.config.schema import json_schema

__all__ = [
    "ADAPTERS",
    "PLACEHOLDER",
    "PLACEHOLDERS",
    "SYSTEM_REPORT",
    "ApiKeys",
    "BrainstemConfig",
    "BudgetConfig",
    "Config",
    "EventGroup",
    "ExecutorConfig",
    "FaultHandler",
    "IntakeConfig",
    "Limits",
    "Loaded",
    "McpServer",
    "NotifyConfig",
    "Provider",
    "QuietHoursConfig",
    "RouterConfig",
    "RunbookCommand",
    "Tier",
    "WebhookConfig",
    "config_hash",
    "data_dir",
    "is_loopback",
    "json_schema",
    "load",
    "load_again",
    "log_path",
    "redacted",
    "restore",
    "token_path",
    "url_problem",
    "user_file",
]
