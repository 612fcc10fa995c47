"""Who is chosen, and what the record says about those who were not."""

from __future__ import annotations

from tests.domain.given import TIERS, worker

from omni.domain import routing
from omni.domain.intent import Intent
from omni.domain.routing import Choice
from omni.domain.values import ExecutorHealth, ExecutorSpec, Mode, RoutingSettings, TaskSpec

CODER = worker("claude", types=("coding",), local=True)
HELPER = worker("openclaw", types=("general",))
CLOUD = worker("moltworker", types=("always_on", "gpu"), always_on=True, gpu=True)
REPORTS = worker("runbook", types=("runbook",), keywords=("disk_report",), needs_cloud=False)
ALL = (CODER, HELPER, CLOUD, REPORTS)


def choose(
    text: str,
    kind: str = "general",
    *,
    executors: tuple[ExecutorSpec, ...] = ALL,
    down: dict[str, str] | None = None,
    mode: Mode = "NORMAL",
    complexity: int = 10,
    local: bool = False,
    **spec: str,
) -> Choice:
    health = {name: ExecutorHealth("failed", why) for name, why in (down or {}).items()}
    intent = Intent(kind, complexity, ("because",), local)
    return routing.choose(TaskSpec(text, **spec), intent, RoutingSettings(executors, TIERS), health, mode)  # type: ignore[arg-type]


def executor(choice: Choice) -> str | None:
    return choice.route.executor if choice.route else None


def test_each_kind_goes_to_the_executor_that_takes_it() -> None:
    kinds = ("coding", "general", "always_on", "gpu")
    assert [executor(choose("x", kind)) for kind in kinds] == ["claude", "openclaw", "moltworker", "moltworker"]


def test_the_owners_keyword_outweighs_our_guess() -> None:
    assert executor(choose("give me a disk report, please")) == "runbook"


def test_an_executor_that_takes_other_work_is_rejected_with_that_reason() -> None:
    rejected = {c.executor: c.rejected for c in choose("x").candidates if c.rejected}
    assert rejected["claude"] == "does not take general work"
    assert rejected["runbook"] == "does not take general work unless a keyword occurs"


def test_the_next_best_stands_in_and_the_reason_names_whom_it_replaces() -> None:
    choice = choose("x", "coding", down={"claude": "connection refused"})
    assert executor(choice) == "openclaw"
    assert "instead of claude (failed: connection refused)" in choice.reason


def test_the_client_may_name_the_executor_whatever_it_is_good_at() -> None:
    choice = choose("x", "gpu", executor="claude")
    assert executor(choice) == "claude"
    assert {c.rejected for c in choice.candidates if c.executor != "claude"} == {"the client named claude"}


def test_a_named_executor_that_is_down_is_not_replaced() -> None:
    choice = choose("x", executor="claude", down={"claude": "no such command"})
    assert choice.route is None
    assert "no such command" in choice.reason


def test_a_type_named_by_the_client_overrides_the_guess() -> None:
    assert executor(choose("x", "general", type="gpu")) == "moltworker"


def test_without_the_cloud_only_local_executors_are_left() -> None:
    choice = choose("disk report", mode="BRAINSTEM")
    assert executor(choice) == "runbook"
    assert choose("x", "coding", mode="BRAINSTEM").route is None


def test_nobody_at_all_is_said_plainly() -> None:
    assert choose("x", executors=()).reason == "no executor is configured"


def test_an_adapter_that_this_version_lacks_is_rejected_with_its_reason() -> None:
    lacking = worker("claude", types=("coding",), unavailable="the claude_code adapter is not in this version of Omni")
    choice = choose("x", "coding", executors=(lacking, HELPER))
    assert executor(choice) == "openclaw"
    assert "not in this version" in choice.reason


def test_equals_go_by_the_order_of_the_configuration() -> None:
    assert executor(choose("x", executors=(worker("one"), worker("two")))) == "one"


def test_local_work_prefers_a_local_executor() -> None:
    executors = (worker("remote"), worker("local", local=True))
    assert executor(choose("x", executors=executors, local=True)) == "local"


def test_simple_work_goes_to_the_free_tier_and_complex_work_to_the_paid_one() -> None:
    simple, hard = choose("x", complexity=49).route, choose("x", complexity=50).route
    assert simple is not None
    assert hard is not None
    assert (simple.tier, simple.model) == ("P1", "small")
    assert (hard.tier, hard.model) == ("P2", "large-plus")


def test_tier_and_model_named_by_the_client_are_kept() -> None:
    route = choose("x", tier="P2", model="special").route
    assert route is not None
    assert (route.tier, route.model) == ("P2", "special")
