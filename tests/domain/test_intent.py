"""What kind of work a text asks for, how complex it is, and what that costs."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni.domain.intent import BARS, RULES, Intent, classify

DATA = Path(__file__).parent.parent / "data"
KINDS = ("coding", "general", "always_on", "gpu")


# ---- labelled texts --------------------------------------------------------------------------------------------------


def _confusion(name: str) -> Counter[tuple[str, str]]:
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines]
    return Counter((item["type"], classify(item["text"]).kind) for item in items)


def _table(confusion: Counter[tuple[str, str]]) -> str:
    """Counts only: nobody is to read an item of the held-out file from a failure."""
    rows = (f"{asked:>10}" + "".join(f"{confusion[asked, got]:>10}" for got in KINDS) for asked in KINDS)
    return "\n".join(("asked\\got " + "".join(f"{kind:>10}" for kind in KINDS), *rows))


@pytest.mark.parametrize(("name", "bar"), [("intent_tune.jsonl", 0.97), ("intent_held_out.jsonl", 0.95)])
def test_labelled_texts_are_classified_as_well_as_promised(name: str, bar: float) -> None:
    confusion = _confusion(name)
    right = sum(confusion[kind, kind] for kind in KINDS)
    share = right / confusion.total()
    assert confusion.total() == 168
    assert share >= bar, f"{name}: {share:.1%}\n{_table(confusion)}"


NEAR_MISSES = [
    ("go to the shop and list what we need", "general"),
    ("swift taylor lyrics", "general"),
    ("my ball python hasn't eaten in 3 weeks, should I worry?", "general"),
    ("python 蟒蛇怎么养", "general"),
    ("Java 岛旅游攻略", "general"),
    ("rust on my bike chain", "general"),
    ("shell 贝壳收藏", "general"),
    ("book a class at the gym", "general"),
    ("training plan for a marathon", "general"),
    ("train tickets to Beijing", "general"),
    ("what is a GPU?", "general"),
    ("git 是什么意思", "general"),
    ("24小时便利店在哪", "general"),
    ("write an email to the dev team about last night's outage", "general"),
    ("write a blog post about our new CI pipeline", "general"),
    ("write an essay about fine-tuning language models on a GPU", "general"),
    ("write a letter about the bell that rings every night", "general"),
    ("script for a two minute wedding video", "general"),
    ("explain how docker works in plain English", "general"),
    ("summarise this PR discussion for my boss", "general"),
    ("write a cron script", "coding"),
    ("write a CUDA kernel", "coding"),
    ("写一个 CUDA kernel 做矩阵转置", "coding"),
    ("写个 ffmpeg 转码的 shell 脚本模板，先别跑", "coding"),
    ("the birthday card generator throws 'font not found', patch render_card.py", "coding"),
    ("remind my dad about his pills twice a day for the next 3 months", "always_on"),
    ("webhook 接收服务要一直在线，半夜支付回调也得接住", "always_on"),
    ("帮我守著這個拍賣，每十分鐘看一次出價", "always_on"),
    ("transcribe 300 hours of podcasts", "gpu"),
    ("remove the backgrounds from 5000 product photos and images with SAM", "gpu"),
    ("clone the nanoGPT repo and actually train it to val loss 3.0", "gpu"),
    ("git clone 下来直接 torchrun 开训，代码不用改", "gpu"),
]


@pytest.mark.parametrize(("text", "kind"), NEAR_MISSES)
def test_a_word_of_one_kind_does_not_win_a_text_of_another(text: str, kind: str) -> None:
    assert classify(text).kind == kind, classify(text).signals


# Pairs that differ in one thought only: what must tip the scale, tips it.
TIPPED = [
    ("write a script that checks the site every hour", "coding", "check the site every hour and alert me", "always_on"),
    ("write the training script, don't run it", "coding", "run the training script on the 4090", "gpu"),
    ("写一个训练脚本，先别跑", "coding", "训练一个猫狗分类模型", "gpu"),
    ("write a systemd unit that keeps my bot running", "coding", "keep my bot running", "always_on"),
    ("write a daemon that stays online around the clock", "coding", "stay online around the clock", "always_on"),
    ("write a script that upscales footage on the gpu", "coding", "upscale the footage on the gpu", "gpu"),
    ("fix the login page", "coding", "fix the grammar in this letter", "general"),
    ("写一个监控脚本", "coding", "帮我盯着股价，跌破 1500 通知我", "always_on"),
    ("render the Blender scene at 4k", "gpu", "render my opinion as a short essay", "general"),
]


@pytest.mark.parametrize(("one", "kind", "other", "other_kind"), TIPPED)
def test_what_is_handed_over_decides(one: str, kind: str, other: str, other_kind: str) -> None:
    assert (classify(one).kind, classify(other).kind) == (kind, other_kind)


def test_every_rule_speaks_in_some_text() -> None:
    lines = (DATA / "intent_tune.jsonl").read_text(encoding="utf-8").splitlines()
    texts = (
        [json.loads(line)["text"] for line in lines] + [one for one, *_ in TIPPED] + [text for text, _ in NEAR_MISSES]
    )
    heard = {signal for text in texts for signal in classify(text).signals}
    silent = [(kind, reason) for reason, kind, points, *_ in RULES if f"{kind}: {reason} {points:+d}" not in heard]
    assert not silent


# ---- reasons ---------------------------------------------------------------------------------------------------------


def test_the_reasons_name_the_words_and_their_points() -> None:
    signals = classify("fix the traceback in the login page").signals
    assert any(signal.startswith("coding: 'traceback' +") for signal in signals)
    assert any(signal.startswith("complexity: ") for signal in signals)


def test_an_idiom_is_told_as_a_near_miss() -> None:
    assert "near miss: 'branch office'" in classify("branch office address").signals


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("transcribe this locally", True),
        ("run the linter on my mac", True),
        ("在本机跑一遍测试", True),
        ("用本地模型总结", True),
        ("find a local restaurant", False),
        ("总结一下会议", False),
    ],
)
def test_a_wish_to_run_locally_is_heard(text: str, local: bool) -> None:
    assert classify(text).local is local


def test_traditional_characters_and_full_width_letters_read_like_their_plain_forms() -> None:
    assert classify("幫我寫個腳本，把資料夾裡的檔案改名").kind == "coding"
    assert classify("ｆｉｘ　ｔｈｅ　ｔｒａｃｅｂａｃｋ").kind == "coding"


# ---- complexity ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("what's the weather", 0, 19),
        ("今天天气怎么样", 0, 19),
        ("fix a typo in README", 0, 34),
        ("改一下 README 里的错别字", 0, 34),
        ("write a python function that reverses a string", 0, 49),
        ("add a --json flag to the cli", 0, 49),
        ("refactor the whole project to use async everywhere", 50, 100),
        ("重构整个项目，改成异步", 50, 100),
        ("migrate our monolith from mysql to postgres with zero downtime", 50, 100),
        ("design and implement a distributed event-sourced job queue with tests and docs", 71, 100),
        ("设计并实现一个分布式的、事件溯源的任务队列，带测试和文档", 71, 100),
    ],
)
def test_complexity_falls_where_a_person_would_put_it(text: str, least: int, most: int) -> None:
    level = classify(text)
    assert least <= level.complexity <= most, level.signals


REQUIREMENTS = [
    ", with tests",
    ", and documentation",
    ", and it must be thread-safe",
    "，还要支持并发",
    ". Then deploy it.",
]


@given(
    st.sampled_from([text for text, _ in NEAR_MISSES]),
    st.lists(st.sampled_from(REQUIREMENTS), min_size=1, max_size=6),
)
def test_another_requirement_never_makes_a_task_simpler(text: str, requirements: list[str]) -> None:
    levels = [classify(text + "".join(requirements[:count])).complexity for count in range(len(requirements) + 1)]
    assert levels == sorted(levels)


# ---- any text at all -------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=300))
@example("")
@example("\ud800\udfff lone \udc80")
@example("ﷺ" * 400)
@example("\x00\u202e\u200d🧑‍💻")
def test_any_text_has_one_answer_and_always_the_same(text: str) -> None:
    first = classify(text)
    assert first == classify(text)
    assert first.kind in {"general", *BARS}
    assert 0 <= first.complexity <= 100


def test_an_empty_text_is_general_and_simple() -> None:
    answer = classify("")
    assert isinstance(answer, Intent)
    assert (answer.kind, answer.local) == ("general", False)
    assert answer.complexity < 20


def test_the_tail_of_a_long_text_is_heard_and_its_middle_is_not() -> None:
    filler = "lorem ipsum " * 1000
    assert classify(filler + "please fix the traceback in app.py").kind == "coding"
    assert classify(filler + "please fix the traceback in app.py" + filler).kind == "general"


# ---- cost ------------------------------------------------------------------------------------------------------------


def _best_us(text: str, rounds: int) -> float:
    """The quickest of many runs, in CPU microseconds: a busy machine must not fail this test."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(20):
            classify(text)
        best = min(best, (time.process_time_ns() - began) / 20_000)
    return best


PLAIN = "Please fix the failing test in the parser, it is flaky on CI only, and add a regression test for it."


@pytest.mark.parametrize(("text", "bound_us"), [(PLAIN, 250), (PLAIN * 4, 400)])
def test_a_text_is_classified_in_microseconds(text: str, bound_us: float) -> None:
    assert _best_us(text, rounds=20) < bound_us


ADVERSARIAL = [
    *(
        "a",
        "a ",
        "keep ",
        "every ",
        "tell me ",
        "mac ",
        "https://",
        "`",
        "```",
        "/a",
        "1",
        "1 ",
        "\n ",
        "(",
        "A",
        "-",
        "_a",
    ),
    *("一", "九百", "有", "电脑", "就给", "电 ", "ﷺ"),
]


@pytest.mark.parametrize("piece", ADVERSARIAL)
def test_a_megabyte_of_one_piece_costs_milliseconds(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    best = min(_one_ms(text) for _ in range(5))
    assert best < 10, f"{best:.1f} ms"


def _one_ms(text: str) -> float:
    began = time.process_time_ns()
    classify(text)
    return (time.process_time_ns() - began) / 1e6
