"""How complex a task description is, 0 to 100: a sum of named signals, none of them negative.

Each signal counts words of one idea up to a bound. Adding words to a text can only add signals, so a further
requirement never makes a task simpler. The threshold of the product is 50.
"""

from __future__ import annotations

import math
from typing import TypeAlias

Evidence: TypeAlias = dict[str, list[str]]  # idea → the words that spoke for it

SCOPE = """
architecture, architect, refactor, refactoring, migrate, migration, migrating, end to end, entire,
whole project, whole repo, whole codebase, whole app, whole system, across, everywhere, throughout, system, platform,
framework, rewrite, redesign, overhaul, from scratch, infrastructure, full stack, production ready,
monorepo, compiler, interpreter, engine, codebase,
架构, 重构, 迁移, 端到端, 整个, 全部, 系统, 平台, 框架, 重写, 从零, 从头, 全套, 全栈, 基础设施, 编译器,
整套, 引擎, 所有
"""
DESIGN = """
design, designing, implement, implementing, develop, build, architect, create,
设计, 实现, 开发, 搭建, 设计并实现
"""
HARD = """
distributed, concurrent, concurrency, event sourced, event sourcing, consensus, raft, realtime,
real time, fault tolerant, fault tolerance, high availability, scalable, scaling, thread safe,
lock free, idempotent, idempotency, exactly once, transaction, encryption, security, authentication,
authorization, multi tenant, sharding, replication, cache, queue, memory leak, race condition,
deadlock, machine learning, pipeline, kubernetes, microservice, parser, scheduler, streaming, cuda,
kernel, zero downtime,
分布式, 并发, 事件溯源, 一致性, 实时, 容错, 高可用, 扩展性, 线程安全, 幂等, 事务, 加密, 安全, 鉴权,
多租户, 分片, 复制, 缓存, 队列, 内存泄漏, 竞态, 死锁, 微服务, 流水线, 调度, 解析器, 零停机
"""
REASONING = """
why, analyse, analyze, analysis, investigate, root cause, compare, trade off, tradeoff, evaluate,
prove, optimise, optimize, debug, diagnose, strategy, research, plan,
为什么, 分析, 排查, 根因, 对比, 比较, 权衡, 评估, 证明, 优化, 诊断, 策略, 研究, 调研, 方案, 规划
"""
REQUIREMENT = """
test, doc, documentation, benchmark, must, should, without, at least, at most, ensure, make sure,
support, handle, backward compatible, backwards compatible, monitoring, logging, deploy, deployment,
ci,
测试, 单测, 单元测试, 文档, 必须, 不能, 不要, 至少, 最多, 确保, 保证, 支持, 兼容, 监控, 日志, 部署,
要求
"""
STEP = """
then, next, after that, finally, first, second, third, also, as well as, and, plus,
首先, 其次, 然后, 接着, 最后, 另外, 同时, 并且, 以及, 还要, 并, 和
"""
TABLES = {
    "scope": SCOPE, "design": DESIGN, "hard": HARD, "reasoning": REASONING, "requirement": REQUIREMENT, "step": STEP,
}  # fmt: skip

BASE = 6
# idea, its name for a person, points each, how many count
SIGNALS = (
    ("scope", "wide scope", 20, 3),
    ("design", "design", 12, 2),
    ("hard", "hard matter", 12, 3),
    ("reasoning", "reasoning", 9, 3),
    ("requirement", "requirements", 7, 5),
    ("step", "steps", 5, 6),
    ("clause", "clauses", 2, 8),
    ("code", "software", 5, 2),
    ("heavy", "heavy compute", 8, 1),
    ("cuda", "machinery", 4, 2),
    ("standing", "a standing duty", 6, 1),
    ("shape", "files and code", 5, 4),
    ("trace", "a trace or code block", 8, 2),
)
_POINTS = [
    (idea, [(each * n, f"complexity: {name} +{each * n}") for n in range(1, most + 1)])
    for idea, name, each, most in SIGNALS
]


def measure(evidence: dict[str, list[str]], length: int) -> tuple[int, list[str]]:
    """The level and its reasons; `length` is that of the whole text."""
    total = BASE
    reasons: list[str] = []
    for idea, by_number in _POINTS:
        if idea in evidence and (words := len(evidence[idea])):
            points, reason = by_number[min(words, len(by_number)) - 1]
            total += points
            reasons.append(reason)
    size = min(20, int(4 * math.log2(1 + length / 60)))
    if size:
        reasons.append(f"complexity: length +{size}")
    return min(100, total + size), reasons
