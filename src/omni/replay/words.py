"""What each event of the log says to a person, in each language: one table, from the event's name to a sentence.

A sentence names facts of the event's body by their path, as in `{route.executor}`; a fact that is not there reads as
UNSAID. The first of its `cases` whose fact has that value stands in for it. What follows, in `more`, is said only where
the fact it hangs on is there and true. Facts are values, never templates: whatever a task or an executor wrote stays
text, on one line, and a long one is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from omni.domain.view import timestamp
from omni.domain.visible import one_line

UNSAID = "–"
FACT_CHARS = 240
_FACT = re.compile(r"\{([\w.]+)\}")

When = Callable[[int], str]


class More(NamedTuple):
    """A further remark, said where the fact is true."""

    fact: str
    en: str
    zh: str


class Case(NamedTuple):
    """Other words for an event whose fact reads so; a fact that is missing reads "None"."""

    fact: str
    value: str
    en: str
    zh: str


class Sentence(NamedTuple):
    """One kind of event; `{path}` stands for a fact."""

    en: str
    zh: str
    more: tuple[More, ...] = ()
    cases: tuple[Case, ...] = ()


_BY = More("by", " by {by}", "（由 {by}）")
_AGAIN = More("retry_at", "; another try follows", "；稍后重试")
_SINK = More("sink", " at {sink}", "（渠道 {sink}）")
_UNTIL = More("until_ms", ", until {until_ms}", "，至 {until_ms}")
_REASON = More("reason", ": {reason}", "：{reason}")
_EXECUTOR = Sentence(
    "{executor} is {health.state}",
    "{executor}：{health.state}",
    (
        More("health.reason", ": {health.reason}", "，{health.reason}"),
        More("health.until_ms", ", until {health.until_ms}", "，至 {health.until_ms}"),
    ),
)

SENTENCES: dict[str, Sentence] = {
    # --- the life of one task
    "task.created": Sentence(
        "“{spec.description}”", "“{spec.description}”", (More("client", " from {client}", "（来自 {client}）"),)
    ),
    "task.routed": Sentence(
        "goes to {reason}",
        "交给 {reason}",
        (More("route.model", " ({route.model})", "（{route.model}）"),),
        (Case("route", "None", "{reason}", "{reason}"),),
    ),
    "task.held": Sentence(
        "waits for you: {held.reason}",
        "等待您处理：{held.reason}",
        cases=(
            Case("held.kind", "no_executor", "waits for an executor: {held.reason}", "等待执行器：{held.reason}"),
            Case("held.kind", "budget", "stopped by a budget: {held.reason}", "受预算限制：{held.reason}"),
        ),
    ),
    "task.resolved": Sentence("a person decided: {decision}", "人工决定：{decision}", (_BY,)),
    "task.cancel_requested": Sentence("a stop was asked for", "已请求停止", (_BY,)),
    "task.completed": Sentence("done", "完成", (_BY,)),
    "task.failed": Sentence("given up: {error.message}", "失败：{error.message}"),
    "task.cancelled": Sentence("stopped", "已取消", (_BY,)),
    "task.suspended": Sentence("waits for the cloud: {reason}", "等待云端恢复：{reason}"),
    "task.restored": Sentence("the cloud is back; its turn to go on", "云端已恢复，继续执行"),
    # --- its attempts
    "attempt.planned": Sentence(
        "attempt {n} by {route.executor}",
        "第 {n} 次尝试，由 {route.executor} 执行",
        (More("resume", ", goes on where it was", "，从中断处继续"),),
    ),
    "attempt.started": Sentence(
        "attempt {n} began",
        "第 {n} 次尝试已开始",
        (
            More("pid", ", process {pid}", "，进程 {pid}"),
            More("notes", ", with {notes} from memory", "，附 {notes} 条记忆"),
        ),
    ),
    "attempt.succeeded": Sentence(
        "attempt {n} succeeded",
        "第 {n} 次尝试成功",
        (
            More("result.content", ": {result.content}", "：{result.content}"),
            More("cost_usd", "; {cost_usd} USD by its own count", "；自报费用 {cost_usd} 美元"),
        ),
    ),
    "attempt.failed": Sentence("attempt {n} failed: {error.message}", "第 {n} 次尝试失败：{error.message}", (_AGAIN,)),
    "attempt.interrupted": Sentence(
        "attempt {n} was cut off: {evidence}",
        "第 {n} 次尝试中断：{evidence}",
        (_AGAIN,),
        (
            Case(
                "orderly",
                "True",
                "attempt {n} was paused by its executor: {evidence}",
                "第 {n} 次尝试由执行器暂停：{evidence}",
            ),
        ),
    ),
    "attempt.cancelled": Sentence(
        "attempt {n} was stopped",
        "第 {n} 次尝试已停止",
        cases=(
            Case(
                "confirmed",
                "False",
                "attempt {n} was told to stop and never confirmed it; its work may go on",
                "第 {n} 次尝试被要求停止但未确认，其工作可能仍在继续",
            ),
        ),
    ),
    "attempt.late_outcome": Sentence(
        "attempt {n} {outcome} after it was given up; nothing changes",
        "第 {n} 次尝试的结果（{outcome}）来得太晚，不影响任务",
        (More("detail", ": {detail}", "：{detail}"),),
    ),
    # --- its model calls, and those of no task
    "call.reserved": Sentence(
        "model call: {model} at {channel}",
        "模型调用：{channel} 的 {model}",
        (
            More("estimate_usd", ", for {estimate_usd} USD at most", "，最多 {estimate_usd} 美元"),
            More("client", ", for {client}", "，来自 {client}"),
        ),
        (
            Case("paid", "None", "model call: {model} at {channel}, free", "模型调用：{channel} 的 {model}，免费"),
            Case(
                "estimate_usd",
                "None",
                "model call: {model} at {channel}, nobody can say for how much",
                "模型调用：{channel} 的 {model}，费用无法预估",
            ),
        ),
    ),
    "call.settled": Sentence(
        "model call ended: {verdict}",
        "模型调用结束：{verdict}",
        (
            More("billed_usd", ", {billed_usd} USD billed", "，计费 {billed_usd} 美元"),
            More("imputed_usd", ", worth {imputed_usd} USD", "，折合 {imputed_usd} 美元"),
            More("kept_usd", ", bill not known, {kept_usd} USD kept for it", "，账单未知，按 {kept_usd} 美元计"),
        ),
    ),
    "call.refused": Sentence("model call refused: {reason}", "模型调用被拒：{reason}"),
    # --- what the Router decides by
    "router.started": Sentence("a new start: executors are looked at anew", "重新启动，重新检查执行器"),
    "router.stopped": Sentence("a stop was asked for: nothing more is begun", "已请求停止，不再开始新任务"),
    "router.dispatch_paused": Sentence(
        "nothing is begun after {starts} starts in a short time",
        "短时间内启动 {starts} 次，暂停派发",
        (_UNTIL,),
    ),
    "router.dispatch_resumed": Sentence("tasks are begun again", "恢复派发", (_BY,)),
    "router.configured": Sentence("settings for routing taken", "已载入路由设置"),
    "router.executor_noted": _EXECUTOR,
    "router.mode_noted": Sentence("the router works in {mode}", "路由按 {mode} 工作", (_REASON,)),
    "router.ramp_moved": Sentence(
        "{window} restored tasks at once",
        "同时恢复 {window} 个任务",
        (_UNTIL._replace(en=", after {until_ms}", zh="，{until_ms} 之后"),),
        (Case("window", "0", "all waiting tasks are back", "等待的任务已全部恢复"),),
    ),
    # --- health and the mode
    "health.started": Sentence("a new start: probes begin anew", "重新启动，重新探测"),
    "health.configured": Sentence("what is watched was set", "已载入监测设置"),
    "health.executor_changed": _EXECUTOR,
    "health.proxy_changed": Sentence("the LiteLLM proxy is {state}", "LiteLLM 代理：{state}"),
    "health.cloud_changed": Sentence(
        "cloud {cloud} is {state}",
        "云端 {cloud}：{state}",
        (More("network", ", by this machine's own network", "，原因在本机网络"),),
    ),
    "health.key_changed": Sentence("the {key} key for {cloud} is {state}", "{cloud} 的 {key} 密钥：{state}", (_UNTIL,)),
    "health.breaker_changed": Sentence(
        "breaker of {model} at {channel} is {state}",
        "{channel} 上 {model} 的熔断器：{state}",
        (_REASON, _UNTIL),
    ),
    "health.clock_jumped": Sentence("the clock jumped by {by_ms} ms", "时钟跳变 {by_ms} 毫秒"),
    "health.mode_forced": Sentence(
        "the decision about the mode was given back to health",
        "人工恢复由健康状态决定模式",
        (_BY,),
        (Case("brainstem", "True", "BRAINSTEM was set by hand", "人工切换到 BRAINSTEM"),),
    ),
    "health.mode_changed": Sentence("{before} → {after}: {reason}", "{before} → {after}：{reason}"),
    # --- the daemon and what Brainstem does
    "system.started": Sentence("Omni {version} started, process {pid}", "Omni {version} 已启动，进程 {pid}"),
    "system.stopped": Sentence("Omni stopped: {reason}", "Omni 已停止：{reason}"),
    "system.config_loaded": Sentence("configuration {digest} in force", "配置 {digest} 已生效"),
    "system.loss_accepted": Sentence("started although {events} events were missing", "缺失 {events} 条事件仍启动"),
    "system.mode_followed": Sentence("the system acts in {mode}", "系统按 {mode} 运行", (_REASON,)),
    "system.suspended": Sentence("tasks that need the cloud wait: {reason}", "需要云端的任务已挂起：{reason}"),
    "system.restored": Sentence("suspension over; the mode is {mode}", "挂起结束，当前模式 {mode}"),
    "system.local_model_changed": Sentence(
        "the local model: {state}", "本地模型：{state}", (More("detail", ", {detail}", "，{detail}"),)
    ),
    "system.notice_queued": Sentence(
        "a notice is to be told: {kind}", "待发送通知：{kind}", (More("to", " to {to}", "（发给 {to}）"),)
    ),
    "system.notice_delivered": Sentence("notice {key} delivered", "通知 {key} 已送达", (_SINK,)),
    "system.notice_delayed": Sentence(
        "notice {key} not delivered yet: {detail}", "通知 {key} 暂未送达：{detail}", (_SINK,)
    ),
    "system.notice_dropped": Sentence("notice {key} dropped: {detail}", "通知 {key} 已放弃：{detail}", (_SINK,)),
    "system.repair_started": Sentence(
        "repair {n} of the proxy, by task {task_id}", "第 {n} 次修复代理，任务 {task_id}"
    ),
    "system.repair_ended": Sentence(
        "the repair by task {task_id} ended: {outcome}", "修复任务 {task_id} 结束：{outcome}"
    ),
    "system.repair_given_up": Sentence(
        "no more repairs after {attempts}; please look yourself", "修复 {attempts} 次未成，请手动检查"
    ),
    "system.drill_begun": Sentence("a drill: {fault}", "演练：{fault}", (_UNTIL,)),
}


def moment_in_utc(at: int) -> str:
    """A moment in milliseconds, for people who may be anywhere."""
    return str(timestamp(at))


def since(ms: int) -> str:
    """A span in a few characters: the shorter it is, the more exact."""
    sign, ms = ("-", -ms) if ms < 0 else ("+", ms)
    minutes, second = divmod(ms // 1000, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{sign}{days}d{hour:02d}h{minute:02d}m"
    if hours:
        return f"{sign}{hours}h{minute:02d}m{second:02d}s"
    if minutes:
        return f"{sign}{minutes}m{second:02d}.{ms // 100 % 10}s"
    return f"{sign}{ms / 1000:.3f}s"


def sentence(name: str, body: dict[str, Any], language: str, when: When = moment_in_utc) -> str:
    """An event in words; empty for one without a sentence. `when` writes a moment in milliseconds for people."""
    say = SENTENCES.get(name)
    if say is None:
        return ""
    head = next(((c.en, c.zh) for c in say.cases if str(_fact(body, c.fact)) == c.value), (say.en, say.zh))
    further = (each for each in say.more if _fact(body, each.fact))
    told = [head, *((each.en, each.zh) for each in further)]
    return "".join(_filled(zh if language == "zh" else en, body, when) for en, zh in told)


def _filled(text: str, body: dict[str, Any], when: When) -> str:
    return _FACT.sub(lambda found: _said(found[1], _fact(body, found[1]), when), text)


def _said(path: str, fact: Any, when: When) -> str:
    if fact is None or fact == "":
        return UNSAID
    if path.endswith("_ms") and path != "by_ms":
        return when(fact)
    if path.endswith("_usd"):
        return f"{fact:.6f}".rstrip("0").rstrip(".")
    return _brief(str(fact))


def _brief(text: str) -> str:
    said = one_line(text[: 4 * FACT_CHARS])
    return said if len(said) <= FACT_CHARS else said[: FACT_CHARS - 1] + "…"


def _fact(body: dict[str, Any], path: str) -> Any:
    found: Any = body
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
