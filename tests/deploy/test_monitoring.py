"""The dashboard and the alerts ask for nothing that is not there; promtool, where it is, finds no fault with them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from omni.server.metrics_table import METRICS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "omni.json"
TABLE = {metric.name: metric for metric in METRICS}
OF_ALL = {"job", "instance"}  # what Prometheus adds to every series
PARTS = ("_bucket", "_count", "_sum")
SELECTOR = re.compile(r"\b((?:omni|process)_[a-z_]+)(?:\{([^}]*)\})?")
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def queries() -> Iterator[tuple[str, str]]:
    """Every query by where it stands."""
    board = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for note in board["annotations"]["list"]:
        yield f"annotation {note['name']}", note["expr"]
    for rule in rules():
        yield f"alert {rule['alert']}", rule["expr"]


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"] for rule in group["rules"]
    ]


def selected(query: str) -> Iterator[tuple[str, set[str]]]:
    """Every series that a query names, with the labels that it picks them by."""
    for name, matchers in SELECTOR.findall(query):
        yield name, {each.group(1) for each in re.finditer(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)}


def family(name: str) -> str:
    """The metric that a series belongs to; a histogram is asked for by its parts."""
    stem = next((name.removesuffix(each) for each in PARTS if name.endswith(each)), name)
    if stem != name and stem in TABLE and TABLE[stem].kind == "histogram":
        return stem
    assert name in TABLE, f"there is no metric {name}"
    assert TABLE[name].kind != "histogram", f"{name} is a histogram: ask for a part of it"
    return name


@pytest.mark.parametrize(("where", "query"), list(queries()))
def test_a_query_names_metrics_and_labels_that_there_are(where: str, query: str) -> None:
    found = [(family(name), labels) for name, labels in selected(query)]
    assert found or query.startswith("up{"), query
    labels = {each for name, _ in found for each in TABLE[name].labels} | OF_ALL
    for name, picked in found:
        assert picked <= {*TABLE[name].labels, *OF_ALL, "le"}, (name, picked)
    for group in GROUPING.findall(query):
        assert {each.strip() for each in group.split(",")} <= labels | {"le"}, group


def test_every_metric_of_the_table_is_on_the_dashboard() -> None:
    shown = {family(name) for where, query in queries() if not where.startswith("alert") for name, _ in selected(query)}
    assert set(TABLE) - shown == set()


def test_legends_use_labels_that_the_series_have() -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            labels = {each for name, _ in selected(target["expr"]) for each in TABLE[family(name)].labels}
            assert named <= labels | OF_ALL, (panel["title"], named)


def test_panels_have_places_and_numbers_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_is_wrong_and_what_to_run() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "next"}, rule["alert"]
        assert rule["annotations"]["next"].startswith("omni "), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_the_scrape_configuration_uses_our_port_our_path_and_a_key_from_a_file() -> None:
    from omni.config import Config
    from omni.server.metrics import PATH

    [job] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == PATH
    assert job["static_configs"] == [{"targets": [f"{Config().host}:{Config().port}"]}]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": "omni.key"}
    assert yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["rule_files"] == ["rules.yml"]


def test_a_query_for_what_is_not_there_is_found() -> None:
    with pytest.raises(AssertionError, match="no metric omni_no_such"):
        family("omni_no_such_total")
    with pytest.raises(AssertionError, match="ask for a part"):
        family("omni_task_duration_seconds")


# --- with promtool --------------------------------------------------------------------------------------------------


@pytest.fixture
def promtool(tmp_path: Path) -> Any:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not here; on Debian: apt-get install prometheus")
    for file in (*PROMETHEUS.glob("*.yml"), ROOT / "tests" / "deploy" / "prometheus_rules.yml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "omni.key").write_text("key")

    def run(*words: str) -> None:
        ran = subprocess.run([found, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run


def test_promtool_takes_the_configuration_and_the_rules(promtool: Any) -> None:
    promtool("check", "config", "prometheus.yml")


def test_alerts_come_when_they_should_and_not_in_a_drill(promtool: Any) -> None:
    promtool("test", "rules", "prometheus_rules.yml")


def test_promtool_can_read_every_query_of_the_dashboard(promtool: Any, tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "5m").replace("$job", "omni") for _, query in queries()]
    recorded = [{"record": f"q:{n}", "expr": query} for n, query in enumerate(asked)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": recorded}]}))
    promtool("check", "rules", "queries.yml")
