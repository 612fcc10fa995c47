"""Every metric there is: one table, from which the exposition, `docs/metrics.md` and its test are made."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


class Metric(msgspec.Struct, frozen=True):
    """One family. Counters and histograms begin at 0 with each start of the daemon; gauges say what is now."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


_WHERE = ("tier", "channel", "model")

METRICS: tuple[Metric, ...] = (
    # tasks, from the log as it is appended
    Metric("omni_tasks_created_total", "counter", "Tasks that were accepted."),
    Metric("omni_tasks_routed_total", "counter", "Routing decisions.", ("type", "executor")),
    Metric("omni_tasks_held_total", "counter", "Times that a task was held.", ("kind",)),
    Metric("omni_tasks_ended_total", "counter", "Tasks that ended.", ("type", "executor", "outcome")),
    Metric(
        "omni_task_duration_seconds", "histogram", "From the creation of a task to its end.", ("executor", "outcome")
    ),
    Metric(
        "omni_task_queue_wait_seconds",
        "histogram",
        "From the creation of a task to its first attempt: a slot, an executor, a cloud or a person was waited for.",
        ("executor",),
    ),
    Metric("omni_attempts_ended_total", "counter", "Attempts that ended.", ("executor", "outcome")),
    Metric(
        "omni_attempt_start_seconds",
        "histogram",
        "From the plan of an attempt to the word that its executor has it: what handing over costs.",
        ("executor",),
    ),
    Metric(
        "omni_attempt_duration_seconds",
        "histogram",
        "From the plan of an attempt to its end.",
        ("executor", "outcome"),
    ),
    Metric("omni_tasks", "gauge", "Tasks in memory; ended ones leave it, oldest first, beyond 10000.", ("state",)),
    # executors
    Metric("omni_executor_state", "gauge", "1 for the state that an executor is in.", ("executor", "state")),
    Metric("omni_executor_running", "gauge", "Attempts that an executor is at.", ("executor",)),
    Metric("omni_executor_slots", "gauge", "Attempts that an executor may be given at once.", ("executor",)),
    Metric("omni_executor_queued", "gauge", "Tasks that wait for a slot of an executor.", ("executor",)),
    # health
    Metric("omni_mode", "gauge", "1 for the mode that the system is in.", ("mode",)),
    Metric("omni_mode_changes_total", "counter", "Changes of the mode.", ("before", "after", "cause")),
    Metric(
        "omni_component_up",
        "gauge",
        "1 while a component is up, 0 while it is not: the proxy, a cloud, or a key (cloud/role).",
        ("kind", "name"),
    ),
    Metric(
        "omni_breaker_open",
        "gauge",
        "1 while a model on a channel is left alone; a breaker that is closed is not shown.",
        ("channel", "model"),
    ),
    Metric("omni_dispatch_open", "gauge", "1 while attempts begin; 0 in a pause after a crash loop, and at a stop."),
    Metric("omni_drill_active", "gauge", "1 while a fault is made on purpose."),
    # model calls
    Metric("omni_model_calls_total", "counter", "Model calls that were settled.", (*_WHERE, "verdict")),
    Metric("omni_model_calls_refused_total", "counter", "Model calls that a cap forbade.", ("cap",)),
    Metric(
        "omni_model_tokens_total",
        "counter",
        "Tokens, as providers count them; input includes what was read from and written to a cache.",
        ("channel", "model", "direction"),
    ),
    Metric(
        "omni_model_cost_usd_total",
        "counter",
        "Dollars: billed; imputed, what free calls would have cost; kept, estimates for bills that nobody knows.",
        (*_WHERE, "kind"),
    ),
    Metric(
        "omni_model_call_duration_seconds",
        "histogram",
        "From the reservation of a call to its end.",
        ("channel", "verdict"),
    ),
    Metric(
        "omni_model_call_first_byte_seconds",
        "histogram",
        "From the reservation of a call to the first byte of its answer.",
        ("channel",),
    ),
    Metric("omni_spend_today_usd", "gauge", "Dollars of the owner's day, as budgets count them.", ("kind",)),
    Metric("omni_spend_cap_usd", "gauge", "The cap of the day; not shown where there is none."),
    Metric("omni_spend_unknown_calls", "gauge", "Paid calls of the day whose bill nobody knows."),
    # the log
    Metric("omni_log_position", "gauge", "The last position that is durable."),
    Metric("omni_events_recorded_total", "counter", "Events that were recorded, of each type.", ("event",)),
    Metric(
        "omni_log_append_seconds",
        "histogram",
        "Making the events of one turn durable, from the check of versions to the head marker.",
    ),
    Metric("omni_log_commit_seconds", "histogram", "The commit of an append, and in it the sync of the disk."),
    Metric("omni_log_bytes", "gauge", "Size of the log's files.", ("file",)),
    Metric("omni_disk_free_bytes", "gauge", "Space left for us where the data directory lies."),
    # the process
    Metric("omni_mailbox_depth", "gauge", "Messages that wait for an actor.", ("actor",)),
    Metric("omni_actor_restarts_total", "counter", "Times that an actor died and was started anew.", ("actor",)),
    Metric(
        "omni_connections",
        "gauge",
        "Requests and connections inside the door: all but model calls, those of them that are not logged in, calls.",
        ("kind",),
    ),
    Metric(
        "omni_logins_refused_total",
        "counter",
        "Logins with a wrong token, key or code: `wrong`, or `too_many` of them in a minute.",
        ("reason",),
    ),
    Metric("omni_requests_refused_total", "counter", "Requests that the gate refused.", ("status",)),
    Metric("omni_notices_undelivered", "gauge", "Notices that some sink has yet to take."),
    Metric("omni_notices_oldest_seconds", "gauge", "Age of the oldest of them; 0 where there is none."),
    Metric("omni_status_answered", "gauge", "1 where the Gateway answered this scrape; what it tells is missing else."),
    Metric("omni_build_info", "gauge", "Always 1; what runs.", ("version", "python")),
    Metric("process_start_time_seconds", "gauge", "When the process began, in seconds since the epoch."),
    Metric("process_cpu_seconds_total", "counter", "Processor time of the process."),
    Metric("process_resident_memory_bytes", "gauge", "Memory that the process holds."),
    Metric("process_open_fds", "gauge", "File descriptors that are open."),
    Metric("process_max_fds", "gauge", "File descriptors that may be open."),
)


def table() -> str:
    """The table of the documentation, as Markdown."""
    rows = ("| metric | kind | labels | what |", "|---|---|---|---|")
    return "\n".join((*rows, *(_row(each) for each in METRICS)))


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{each}`" for each in metric.labels) or "–"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    print(table())  # noqa: T201 - `python -m omni.server.metrics_table` renews the documentation
