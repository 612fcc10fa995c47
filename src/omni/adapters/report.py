"""The report on this machine that works offline and asks nobody: system, load, memory, disk, time."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from typing import Any

import psutil

from omni.runtime.ports import Clock

_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_GIB = 1024**3

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "System report",
        "system": "System: {system}",
        "python": "Python: {python}",
        "cpu": "Processors: {cpus}, load {load}",
        "memory": "Memory: {memory_free_gib} GiB free of {memory_gib} GiB ({memory_used_percent} % used)",
        "disk": "Disk at {home}: {disk_free_gib} GiB free of {disk_gib} GiB ({disk_used_percent} % used)",
        "uptime": "Up for {days} d {hours} h {minutes} min",
        "time": "Local time: {local_time}",
    },
    "zh": {
        "title": "系统报告",
        "system": "系统：{system}",
        "python": "Python:{python}",
        "cpu": "处理器：{cpus} 个，负载 {load}",
        "memory": "内存：共 {memory_gib} GiB，可用 {memory_free_gib} GiB（已用 {memory_used_percent} %）",
        "disk": "磁盘（{home}）：共 {disk_gib} GiB，可用 {disk_free_gib} GiB（已用 {disk_used_percent} %）",
        "uptime": "已运行 {days} 天 {hours} 小时 {minutes} 分钟",
        "time": "本地时间：{local_time}",
    },
}


def language_of(text: str) -> str:
    """`zh` when the text has a Chinese character, else `en`."""
    return "zh" if _CHINESE.search(text) else "en"


def measure(clock: Clock) -> dict[str, Any]:
    """The figures, ready for a program: GiB, percent, seconds."""
    memory, home = psutil.virtual_memory(), os.path.expanduser("~")  # noqa: PTH111 - shown, not used as a path
    disk = psutil.disk_usage(home if os.path.isdir(home) else "/")  # noqa: PTH112
    return {
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "python": platform.python_version(),
        "cpus": psutil.cpu_count() or 1,
        "load": [round(each, 2) for each in psutil.getloadavg()],
        "memory_gib": round(memory.total / _GIB, 1),
        "memory_free_gib": round(memory.available / _GIB, 1),
        "memory_used_percent": round(memory.percent),
        "home": home,
        "disk_gib": round(disk.total / _GIB, 1),
        "disk_free_gib": round(disk.free / _GIB, 1),
        "disk_used_percent": round(disk.percent),
        "uptime_s": int(clock.wall_ms() / 1000 - psutil.boot_time()),
        "local_time": _local(clock),
    }


def write(figures: Mapping[str, Any], language: str) -> str:
    """The report for people, one fact on each line."""
    words = _WORDS[language]
    minutes = max(0, figures["uptime_s"]) // 60
    shown = {
        **figures,
        "load": " / ".join(map(str, figures["load"])),
        "days": minutes // 1440,
        "hours": minutes // 60 % 24,
        "minutes": minutes % 60,
    }
    return "\n".join(line.format_map(shown) for line in words.values())


def _local(clock: Clock) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(clock.wall_ms() // 1000, dt.UTC).astimezone().isoformat(sep=" ")
