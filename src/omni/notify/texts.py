"""What notices say, by kind, in each language; the one table that everything told to the user comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from omni.config import EventGroup

Language: TypeAlias = Literal["en", "zh"]

UNSAID = "–"  # stands for a fact that nobody gave


class Text(NamedTuple):
    """One kind of notice; `{name}` stands for a fact. No group: whoever asked for it hears it in any case."""

    group: EventGroup | None
    en: str
    zh: str


TEXTS: dict[str, Text] = {
    "cloud_offline": Text(
        "mode",
        "Cloud offline, tasks suspended (BRAINSTEM: {reason}). Nothing is lost; Omni goes on when it is back.",
        "云端离线，任务已挂起（BRAINSTEM：{reason}）。任务不会丢失，恢复后自动继续。",
    ),
    "cloud_restored": Text(
        "mode",
        "Cloud restored; the mode is {mode}. Waiting tasks go on, a few at a time.",
        "云端已恢复，当前模式 {mode}。等待中的任务将逐步继续。",
    ),
    "degraded": Text(
        "mode",
        "DEGRADED: {reason}. Model calls go directly to the clouds, with the backup keys. Tasks go on.",
        "DEGRADED：{reason}。模型调用改用备用密钥直连云端，任务继续执行。",
    ),
    "recovered": Text(
        "mode",
        "The LiteLLM proxy works again. Model calls go through it as before.",
        "LiteLLM 代理已恢复，模型调用重新经由代理。",
    ),
    "restarted_after_crash": Text(
        "mode",
        "Omni {version} was started again after it had ended without a word. Accepted tasks are kept; what was running "
        "is being looked into. See: omni logs",
        "Omni {version} 曾异常退出，现已重新启动。已接受的任务均已保留，中断的任务正在核实。查看：omni logs",
    ),
    "crash_loop": Text(
        "mode",
        "Omni was started {starts} times within {minutes} minutes and never stopped in good order. It stores tasks and "
        "answers, and begins none until you say so, or {minutes} minutes have gone well. See: omni logs --level error. "
        "To go on now: omni mode auto",
        "Omni 在 {minutes} 分钟内启动了 {starts} 次，且均未正常停止。现仍接收并保存任务，"
        "但在您确认之前或平稳运行 {minutes} 分钟之前不再派发。"
        "查看：omni logs --level error。立即恢复：omni mode auto",
    ),
    "local_model_stays": Text(
        "mode",
        "The local model is still in memory although it is not needed ({detail}). To unload it: ollama stop MODEL",
        "本地模型已不再需要，但仍占用内存（{detail}）。手动卸载：ollama stop MODEL",
    ),
    "no_repair": Text(
        "repair",
        "Nobody can repair the LiteLLM proxy: no executor for coding tasks is configured. Please start it again.",
        "没有能修复 LiteLLM 代理的执行器：未配置可处理编程任务的执行器。请手动启动代理。",
    ),
    "repair_given_up": Text(
        "repair",
        "{attempts} attempts did not repair the LiteLLM proxy; Omni tries no more and stays with direct calls. Please "
        "look at it yourself. See: omni status",
        "修复 LiteLLM 代理的 {attempts} 次尝试均未成功，Omni 不再尝试，继续直连云端。请手动检查。查看：omni status",
    ),
    "task_held": Text(
        "held",
        'Task {task} ("{title}") waits for you: {reason}. Decide with one of: {choices}',
        "任务 {task}（“{title}”）正等待您的决定：{reason}。可执行：{choices}",
    ),
    "task_stranded": Text(
        "held",
        'Task {task} ("{title}") waits: {reason}. It goes on by itself once one can. Or decide: {choices}',
        "任务 {task}（“{title}”）正在等待：{reason}。有可用执行器后自动继续，也可执行：{choices}",
    ),
    "task_answer": Text(None, "Task {task}: {state}\n{text}", "任务 {task}：{state}\n{text}"),
    "executor_paused": Text(
        "executor",
        "{executor} is paused until {until}: {reason}. Its tasks wait or go to others; Omni goes on by itself then.",
        "{executor} 已暂停至 {until}：{reason}。其任务将等待或转交他处，届时自动继续。",
    ),
    "task_failed": Text(
        "failed",
        "Task {task} failed: {reason}. See: omni task show {task}",
        "任务 {task} 失败：{reason}。查看：omni task show {task}",
    ),
    "budget_reached": Text(
        "budget",
        "The budget is used up ({cap}): {reason}. See: omni costs",
        "预算已用尽（{cap}）：{reason}。查看：omni costs",
    ),
}


class _Facts(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return UNSAID


def render(kind: str, facts: Mapping[str, str], language: Language) -> str:
    """The notice in words; of a kind without a text, the facts as they are. Facts are values, never templates."""
    text = TEXTS.get(kind)
    if text is None:
        return " ".join([f"{kind}:", *(f"{name}={value}" for name, value in facts.items())])
    said = {name: value or UNSAID for name, value in {**facts, "choices": _choices(facts)}.items()}
    return (text.zh if language == "zh" else text.en).format_map(_Facts(said))


def _choices(facts: Mapping[str, str]) -> str:
    """What to type for each decision that is open; a task that waits for something can be cancelled all the same."""
    task = facts.get("task", UNSAID)
    commands = [f"omni task resolve {task} {option}" for option in facts.get("options", "").split()]
    return "; ".join(commands or [f"omni task retry {task}", f"omni task cancel {task}"])


def kinds_of(groups: Iterable[EventGroup]) -> tuple[str, ...]:
    """The kinds of notices that these switches cover."""
    wanted = set(groups)
    return tuple(kind for kind, text in TEXTS.items() if text.group in wanted)


def group(kind: str) -> EventGroup | None:
    """Which switch of `notify.events` covers a kind; None for one that is always told."""
    text = TEXTS.get(kind)
    return text.group if text else None
