import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from omni.config.prices import list_path, read_list
from omni.domain.hops import Hop
from omni.domain.values import LOCAL_MODEL, PROXY, Usage
from omni.llm.answer import Meter
from omni.llm.prices import Bill, Prices

LIST: dict[str, Any] = {
    "sample_spec": {
        "max_tokens": "a sentence",
        "mode": "chat",
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
    },
    "claude-a": {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "max_output_tokens": 100,
        "input_cost_per_token": 0.01,
        "output_cost_per_token": 0.1,
        "cache_read_input_token_cost": 0.001,
        "cache_creation_input_token_cost": 0.02,
        "input_cost_per_token_above_200k_tokens": 0.02,
        "output_cost_per_token_above_200k_tokens": 0.2,
    },
    "free-preview": {
        "litellm_provider": "anthropic",
        "mode": "chat",
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
    },
    "gpt-b": {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": 0.5,
        "output_cost_per_token": 1,
    },
    "picture": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 1},
}
PAID = Hop("anthropic", "claude-a", "backup", paid=True)


@pytest.fixture
def prices(tmp_path: Path) -> Prices:
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST))
    return Prices({"anthropic": "anthropic", "mine": "openai", "openrouter": "openrouter"}, path)


@pytest.mark.parametrize(
    ("channel", "model", "usage", "cost"),
    [
        ("anthropic", "claude-a", Usage(10, 2), 0.3),
        ("anthropic", "claude-a", Usage(10, 0, 4, 2), 0.04 + 0.004 + 0.04),
        ("anthropic", "claude-a", Usage(200_000, 1), 4_000.2),
        ("anthropic", "anthropic/claude-a", Usage(10, 2), 0.3),
        (PROXY, "anthropic/claude-a", Usage(10, 2), 0.3),
        (PROXY, "claude-a", Usage(10, 2), 0.3),
        ("mine", "gpt-b", Usage(2, 1), 2.0),
        (LOCAL_MODEL, "qwen", Usage(10, 2), 0.0),
    ],
)
def test_a_known_model_costs_what_its_tokens_cost(
    prices: Prices, channel: str, model: str, usage: Usage, cost: float
) -> None:
    assert asyncio.run(prices.price(channel, model, usage)) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("channel", "model"),
    [
        ("anthropic", "claude-unheard-of"),
        ("anthropic", "free-preview"),
        ("anthropic", "gpt-b"),
        ("openrouter", "anthropic/claude-a"),
        ("mine", "picture"),
        ("anthropic", "sample_spec"),
        (PROXY, "openai/claude-a"),
        (PROXY, ""),
    ],
)
def test_a_price_that_nobody_stated_is_unknown_and_never_zero(prices: Prices, channel: str, model: str) -> None:
    assert asyncio.run(prices.price(channel, model, Usage(10, 2))) is None


@pytest.mark.parametrize(
    ("hop", "meter", "bill"),
    [
        (PAID, Meter(Usage(10, 2), 0.7, "claude-a"), Bill(0.7, None, "provider")),
        (PAID, Meter(Usage(10, 2), 0.0, "claude-a"), Bill(0.0, None, "provider")),
        (PAID, Meter(Usage(10, 2), None, "claude-a", finished=True), Bill(0.3, None, "table")),
        (PAID, Meter(Usage(10, 2), None, "claude-a-20990101", finished=True), Bill(0.3, None, "table")),
        (PAID, Meter(Usage(10, 2), None, "claude-a", finished=False), Bill(None, None, "unknown")),  # it broke off
        (PAID, Meter(None, None, "claude-a"), Bill(None, None, "unknown")),
        (Hop(PROXY, "claude-a"), Meter(Usage(10, 2), None, "claude-a", finished=True), Bill(0.0, 0.3, "table")),
        (Hop(PROXY, "x"), Meter(Usage(10, 2), 0.5, "x"), Bill(0.0, 0.5, "provider")),
        (Hop(PROXY, "x"), Meter(Usage(10, 2), None, "x"), Bill(0.0, None, "unknown")),
    ],
)
def test_billed_and_imputed_are_kept_apart_and_name_their_source(
    prices: Prices, hop: Hop, meter: Meter, bill: Bill
) -> None:
    found = asyncio.run(prices.bill(hop, meter))
    assert found.source == bill.source
    assert found.billed_usd == pytest.approx(bill.billed_usd)
    assert found.imputed_usd == pytest.approx(bill.imputed_usd)


def test_an_estimate_counts_the_text_and_the_most_that_may_be_answered(prices: Prices) -> None:
    body = {"messages": [{"role": "user", "content": "x" * 4_000}], "max_tokens": 50}
    estimate = asyncio.run(prices.estimate(PAID, body))
    assert estimate is not None
    assert 10 + 5 <= estimate <= 10.5 + 5
    unbounded = asyncio.run(prices.estimate(PAID, {**body, "max_tokens": 1_000_000}))
    assert unbounded == pytest.approx(estimate - 5 + 10)  # the model cannot say more than 100 tokens


def test_a_picture_is_not_estimated_by_the_length_of_its_encoding(prices: Prices) -> None:
    picture = {"type": "image", "source": {"type": "base64", "data": "A" * 1_000_000}}
    body = {"messages": [{"role": "user", "content": [picture]}], "max_tokens": 0}
    estimate = asyncio.run(prices.estimate(PAID, body))
    assert estimate is not None
    assert 16 <= estimate <= 17


def test_a_reseller_is_estimated_by_the_maker_and_an_unheard_of_model_not_at_all(prices: Prices) -> None:
    body = {"messages": [], "max_tokens": 10}
    assert asyncio.run(prices.estimate(Hop("openrouter", "anthropic/claude-a"), body)) is not None
    assert asyncio.run(prices.estimate(Hop("openrouter", "who/knows"), body)) is None


def test_the_list_is_found_and_read_without_importing_litellm() -> None:
    code = (
        "import sys; from omni.config.prices import read_list; "
        "print(len(read_list()) > 1000, 'litellm' in sys.modules, 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split()[:2] == ["True", "False"]


def test_no_list_means_no_price(tmp_path: Path) -> None:
    assert list_path() is not None
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    assert read_list(empty) == {}


@pytest.mark.parametrize(
    "content", ['{"a": {"mode": "chat"}, "b": 1', '{"a": [1]}', '{"a": {"mode": ["chat"]}}', "\xff"]
)
def test_a_list_that_cannot_be_read_knows_no_price_and_breaks_no_call(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(content, "latin-1")
    with structlog.testing.capture_logs() as lines:
        assert asyncio.run(Prices({}, path).estimate(Hop(PROXY, "claude-a"), {})) is None
    assert [line["event"] for line in lines] == ["prices.unreadable"]
