"""How complex a task description is, 0 to 100: a sum of named signals, none of them negative.

Adding words to a text can only add signals, so a further requirement never makes a task simpler.
"""

from __future__ import annotations

import math
import re

BASE = {"general": 4, "coding": 12, "always_on": 14, "gpu": 18}

# name, points each, how many count, what counts
SIGNALS = (
    ("wide scope", 16, 3, r"\b(?:architect\w*|refactor\w*|migrat\w+|end-to-end|end to end|entire|whole (?:project|repo|codebase|app|system)|across|system|platform|framework|rewrite|redesign|overhaul|from scratch|infrastructure|full-stack|production-ready|monorepo|compiler|interpreter)\b|架构|重构|迁移|端到端|整个|全部|系统|平台|框架|重写|从零|从头|全套|全栈|基础设施|编译器"),
    ("design", 14, 2, r"\b(?:design(?:ing)?|implement(?:ing)?|develop|build|architect)\b|设计|实现|开发|搭建"),
    ("hard matter", 13, 3, r"\b(?:distributed|concurren\w+|event[- ]sourc\w+|consensus|raft|real-?time|fault[- ]toleran\w+|high availability|scal\w+|thread[- ]safe\w*|lock-free|idempoten\w+|exactly[- ]once|transaction\w*|encrypt\w*|security|auth(?:entication|orization)?|multi-?tenant|sharding|replicat\w+|cache|queue|memory leak|race condition|deadlock|machine learning|pipeline|kubernetes|microservices?)\b|分布式|并发|事件溯源|一致性|实时|容错|高可用|扩展性|线程安全|幂等|事务|加密|安全|鉴权|多租户|分片|复制|缓存|队列|内存泄漏|竞态|死锁|微服务|流水线"),
    ("reasoning", 10, 3, r"\b(?:why|analy[sz]e|analysis|investigate|root cause|compare|trade-?offs?|evaluate|prove|optimi[sz]\w+|debug|diagnos\w+|strategy|research|plan)\b|为什么|分析|排查|根因|对比|比较|权衡|评估|证明|优化|诊断|策略|研究|调研|方案|规划"),
    ("requirement", 6, 5, r"\b(?:tests?|docs?|documentation|benchmarks?|must|should|without|at least|at most|ensure|make sure|support\w*|handle|backwards? compatible|monitoring|logging|deploy\w*|ci)\b|测试|文档|必须|不能|不要|至少|最多|确保|保证|支持|兼容|监控|日志|部署|要求"),
    ("step", 5, 6, r"(?:^|\n)\s*(?:[-*•]|\d{1,2}[.)、]) ?|\b(?:then|next|after that|finally|first|second|third|also|as well as|and|plus)\b|首先|其次|然后|接着|最后|另外|同时|并且|以及|还要|并|和"),
    ("clause", 2, 8, r"[,;，；。、]"),
    ("file", 6, 4, r"(?<=\w)\.(?:py|js|ts|tsx|jsx|go|rs|rb|java|kt|swift|cpp|cs|php|sh|sql|html|css|vue|svelte|toml|ya?ml|json|tf|ipynb)\b"),
    ("code", 8, 2, r"```|Traceback \(|\n\s+at "),
)  # fmt: skip
_SIGNALS = tuple((name, each, most, re.compile(pattern, re.IGNORECASE)) for name, each, most, pattern in SIGNALS)


def measure(folded: str, kind: str, length: int) -> tuple[int, list[str]]:
    """The level and its reasons; `length` is that of the whole text, of which `folded` may be a part."""
    total = BASE[kind]
    reasons = [f"complexity: {kind} +{total}"]
    for name, each, most, pattern in _SIGNALS:
        count = min(len(pattern.findall(folded)), most)
        if count:
            total += each * count
            reasons.append(f"complexity: {count} × {name} +{each * count}")
    size = min(20, int(4 * math.log2(1 + length / 60)))
    if size:
        reasons.append(f"complexity: length +{size}")
    return min(100, total + size), reasons
