"""`omni what-if` as a person has it: a log, two configurations, and litellm's own price list."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.conftest import Omni
from tests.domain.given import READY, Desk
from tests.replay.logs import AT_MS, beginning, write, write_at

from omni.cli import what_if
from omni.cli.arguments import Globals
from omni.cli.context import Context
from omni.config import config_hash, load, redacted
from omni.config.prices import read_list
from omni.config.settings import routing_settings
from omni.domain import commands as cmd
from omni.domain import events as ev
from omni.domain.values import Usage
from omni.replay.what_if import Answer, policy_of

TODAY = """\
lite_llm_url: http://127.0.0.1:4000
mcp_servers:
  worker: {url: "null:", types: [general]}
tiers:
  - {name: paid, light: gpt-4o, heavy: gpt-4o, cost: paid}
"""
CHEAPER = TODAY.replace("light: gpt-4o, heavy: gpt-4o", "light: gpt-4o-mini, heavy: gpt-4o-mini")
ELSEWHERE = TODAY.replace("worker:", "other:")
USED = Usage(100_000, 20_000)


def file(omni: Omni, text: str) -> str:
    (omni.home / "tried.yaml").write_text(text)
    return "tried.yaml"


@pytest.fixture
def told(omni: Omni) -> Omni:
    """A home with today's configuration, and a log in which it decided: three tasks with one call each."""
    (omni.home / "config.yaml").write_text(TODAY)
    config = load(omni.home / "config.yaml", environ={}).config
    desk = Desk(ready=False)
    desk.log, desk.at = [], AT_MS
    loaded = ev.ConfigLoaded(config_hash(config), redacted(config))
    desk.log.append((ev.SYSTEM_STREAM, loaded, desk.at, 1))
    desk.put(cmd.Boot("boot-2", routing_settings(config)))
    desk.note("worker", READY)
    desk.put(cmd.NoteMode("NORMAL", cleared=True))
    for task in ("0000aaaa", "0000bbbb", "0000cccc"):
        spend(desk, task)
    write_at(omni.data_dir, *((at, stream, event) for stream, event, at, _ in desk.log))
    return omni


def spend(desk: Desk, task: str) -> None:
    """A task with one call: 100,000 × $2.50 + 20,000 × $10 for a million tokens each = $0.25 + $0.20 = $0.45."""
    desk.create(task)
    asked = cmd.ReserveCall("r", task, "proxy", "gpt-4o", "NORMAL", task, 1, "", True, 0.5, "paid")
    desk.put(asked)
    desk.put(cmd.SettleCall(task, "ok", task, 0.45, None, "provider", USED))
    desk.at += 2_000
    desk.succeed(task)


def test_the_prices_that_these_tests_were_reckoned_with_are_those_of_the_list() -> None:
    prices = read_list()
    assert prices["gpt-4o"].of(USED) == pytest.approx(0.45)
    assert prices["gpt-4o-mini"].of(USED) == pytest.approx(0.027)


def test_todays_configuration_changes_nothing(told: Omni) -> None:
    document = told.json("what-if")
    assert document["schema"] == "omni.what-if/1"
    assert (document["changes"], document["unknown"]) == ([], [])
    assert (document["cost"]["recorded_usd"], document["cost"]["delta_usd"]) == (1.35, 0)
    assert document["cost"]["label"] == "recorded"
    said = told("what-if")
    assert "nothing changes" in said.stdout
    assert "omni config reload takes it up" in said.stderr


def test_a_cheaper_model_is_re_priced_from_litellms_list_to_the_cent(told: Omni) -> None:
    """3 × (100,000 × $0.15 + 20,000 × $0.60) / 1,000,000 = 3 × ($0.015 + $0.012) = $0.081; Δ 0.081 - 1.35 = -$1.269."""
    document = told.json("what-if", "--config", file(told, CHEAPER))
    assert document["cost"]["repriced_usd"] == pytest.approx(0.081)
    assert document["cost"]["delta_usd"] == pytest.approx(-1.269)
    assert document["cost"]["label"] == "re-priced"
    assert document["latency"]["label"] == "unknown"
    assert document["latency"]["unknown"] == 3
    change = document["changes"][0]
    assert (change["recorded"]["model"], change["policy"]["model"]) == ("gpt-4o", "gpt-4o-mini")
    assert (change["outcome"], change["latency"]) == ("unknown", "unknown")


def test_people_see_four_figures_with_labels_both_choices_and_what_nobody_can_say(told: Omni) -> None:
    said = told("what-if", "--config", file(told, CHEAPER))
    assert said.returncode == 0
    for expected in ("cost", "latency", "held", "failed", "re-priced", "-$1.27", "tasks that change (3)"):
        assert expected in said.stdout
    assert "recorded  worker · paid · gpt-4o: worker: takes general work" in said.stdout
    assert "policy    worker · paid · gpt-4o-mini: worker: takes general work" in said.stdout
    assert "what nobody can say" in said.stdout
    assert "next: omni why 0000aaaa" in said.stderr


@pytest.mark.parametrize(
    ("behind", "fates"), [("openai/gpt-4o", set()), ("openai/gpt-4o-mini", {"unsure"})], ids=["the same", "another"]
)
def test_a_name_that_stands_for_another_model_behind_the_proxy_leaves_its_calls_unknown(
    told: Omni, behind: str, fates: set[str]
) -> None:
    listed = f"model_list: [{{model_name: gpt-4o, litellm_params: {{model: {behind}}}}}]\n"
    document = told.json("what-if", "--config", file(told, TODAY + listed))
    assert {change["fate"] for change in document["changes"]} == fates
    assert (document["cost"]["whole"], document["failed"]["whole"]) == (not fates, not fates)


def test_another_executor_leaves_everything_unknown(told: Omni) -> None:
    document = told.json("what-if", "--config", file(told, ELSEWHERE))
    assert {change["fate"] for change in document["changes"]} == {"elsewhere"}
    assert (document["cost"]["unknown"], document["cost"]["unknown_tasks"]) == (3, 3)
    assert document["cost"]["label"] == "unknown"


def test_a_long_list_is_cut_for_people_and_whole_for_programs(told: Omni, monkeypatch: pytest.MonkeyPatch) -> None:
    from omni.replay.history import History
    from omni.replay.what_if import what_if as read

    monkeypatch.setattr(what_if, "SHOWN", 1)
    config = load(told.home / file(told, ELSEWHERE), environ={}).config
    with History.open(told.data_dir) as history:
        answer = read(history.reader, policy_of(config))
    lines = what_if.lines("tried.yaml", answer)
    assert "and 2 more tasks: --json shows all" in lines
    assert len(answer.view()["changes"]) == 3


def test_only_a_part_of_the_log_can_be_tried(told: Omni) -> None:
    whole = told.json("what-if", "--config", file(told, CHEAPER))
    last = whole["changes"][-1]["position"]
    part = told.json("what-if", "--config", file(told, CHEAPER), "--since", str(last))
    assert [change["position"] for change in part["changes"]] == [last]
    none = told.json("what-if", "--config", file(told, CHEAPER), "--to", "3")
    assert (none["changes"], none["until"]) == ([], 3)


def test_the_log_is_that_of_todays_configuration_and_not_of_the_one_that_is_tried(told: Omni) -> None:
    elsewhere = f"data_dir: {told.home}/nowhere\n{CHEAPER}"
    del told.environ["OMNI_DATA_DIR"]
    (told.home / "config.yaml").write_text(f"data_dir: {told.data_dir}\n{TODAY}")
    assert len(told.json("what-if", "--config", file(told, elsewhere))["changes"]) == 3


def test_a_secret_whose_variable_this_shell_lacks_counts_as_there(omni: Omni) -> None:
    """The daemon had it; without it the record's mode during an outage would seem to be another."""
    path = omni.home / "config.yaml"
    path.write_text(TODAY + "api_keys: {backup: {anthropic: '${BACKUP_KEY_OF_THIS_TEST}', openrouter: given}}\n")
    there = load(path, environ={"BACKUP_KEY_OF_THIS_TEST": "sk-ant-test"})
    context = Context(Globals(config=str(path)))
    assert context.loaded.absent == ("BACKUP_KEY_OF_THIS_TEST",)
    assert policy_of(what_if.tried(context)) == policy_of(there.config)
    assert policy_of(context.loaded.config) != policy_of(there.config)


@pytest.mark.parametrize(
    ("words", "code", "said", "next_command"),
    [
        (("--config", "missing.yaml"), 2, "does not exist", "--config"),
        (("--config", "broken.yaml"), 2, "broken.yaml", "omni config check"),
        (("--since", "yesterday-ish"), 2, "no point in time", "omni"),
        (("--since", "99999"), 4, "no position 99999", "omni replay at"),
        (("--since", "5", "--to", "3"), 2, "nothing between", "omni what-if --help"),
        (("--data-dir", "empty"), 4, "no event log", "omni serve"),
    ],
)
def test_each_error_says_what_is_wrong_and_the_next_command(
    told: Omni, words: tuple[str, ...], code: int, said: str, next_command: str
) -> None:
    (told.home / "broken.yaml").write_text("mcp_server: {}\n")
    done = told("what-if", *words)
    assert (done.returncode, said in done.stderr, next_command in done.stderr) == (code, True, True), done.stderr


def test_a_log_in_which_nothing_was_configured_is_refused(omni: Omni) -> None:
    write(omni.data_dir, beginning()[0])
    done = omni("what-if")
    assert done.returncode == 2
    assert "holds no configuration" in done.stderr
    assert "next: omni serve" in done.stderr


def test_a_document_holds_every_label(told: Omni) -> None:
    document: dict[str, Any] = told.json("what-if", "--config", file(told, CHEAPER))
    for figure in ("cost", "latency", "held", "failed"):
        assert document[figure]["label"].split(" + ")[0] in {"recorded", "re-priced", "unknown"}
        assert isinstance(document[figure]["whole"], bool)


def test_no_figure_looks_whole_to_people_where_nobody_knows_which_failovers_there_would_have_been() -> None:
    answer = Answer(0, 9)
    sound = what_if.lines("tried.yaml", answer)
    assert not any("+ ?" in line for line in sound)
    answer.doubt("thresholds", "lower thresholds may have tripped")
    figures = [line for line in what_if.lines("tried.yaml", answer) if line.startswith(("cost", "lat", "held", "fail"))]
    assert len(figures) == 4
    for line in figures:
        assert line.count("+ ?") == 2, line
        assert line.endswith("see below")


def test_a_bill_that_nobody_knew_leaves_the_sums_of_both_sides_open_and_not_their_difference() -> None:
    answer = Answer(0, 9)
    answer.cost.book("recorded", None)
    answer.cost.book("recorded", 0.5)
    [cost] = [line for line in what_if.lines("tried.yaml", answer) if line.startswith("cost")]
    assert [part.strip() for part in cost.split("  ") if part.strip()][1:5] == [
        "$0.50 + ?",
        "$0.50 + ?",
        "$0.00",
        "recorded + unknown",
    ]
