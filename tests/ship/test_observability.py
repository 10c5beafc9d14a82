"""Docs, dashboard and alerts name the metrics and log fields that the code has."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram

from finpay.edge.access_log import AccessLogLine
from finpay.telemetry import metrics

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs/operations/observability.md").read_text("utf-8")
DASHBOARD: Final = json.loads((ROOT / "deploy/grafana/finpay.json").read_text("utf-8"))
PROMETHEUS: Final = ROOT / "deploy/prometheus"
ALERTS: Final = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))
RULES: Final = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
METRICS: Final = [
    each for each in vars(metrics).values() if isinstance(each, Counter | Gauge | Histogram)
]
_NAME: Final = re.compile(r"\bfinpay_\w+")

promtool: Final = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool: Final = pytest.mark.skipif(
    promtool is None, reason="needs promtool: it is in Debian's package prometheus"
)


def exposed(metric: Any) -> str:
    """The name of a metric in queries, without suffixes such as _bucket."""
    name: str = metric._name
    return f"{name}_total" if isinstance(metric, Counter) else name


def samples() -> set[str]:
    """Every name that a query may use."""
    return {
        exposed(metric) + ending
        for metric in METRICS
        for ending in (("_bucket", "_sum", "_count") if isinstance(metric, Histogram) else ("",))
    }


def rows(heading: str, nth: int = 0) -> Iterator[list[str]]:
    """The cells of a section's table."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [lines for lines in section.strip().split("\n\n") if lines.startswith("|")][nth]
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def expressions() -> list[str]:
    return [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    documented = {
        name.strip("`"): (kind, tuple(label for label in labels.split(", ") if label))
        for name, kind, labels, _ in rows("Metrics")
    }
    assert documented == {
        exposed(metric): (type(metric).__name__.lower(), tuple(metric._labelnames))
        for metric in METRICS
    }


def test_every_field_of_a_log_line_is_documented() -> None:
    assert [row[0].strip("`") for row in rows("Logs")] == list(AccessLogLine.__struct_fields__)


def test_the_dashboard_uses_only_existing_metrics() -> None:
    used = {name for text in expressions() for name in _NAME.findall(text)}
    assert used <= samples()
    shown = {exposed(metric) for metric in METRICS if any(exposed(metric) in n for n in used)}
    assert shown == {exposed(metric) for metric in METRICS}, "something is shown nowhere"


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    positions = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(positions) == len(set(positions))
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


def test_alerts_use_only_existing_metrics() -> None:
    used = {name for rule in RULES for name in _NAME.findall(rule["expr"])}
    assert used <= samples()
    assert used


def test_every_alert_has_advice_and_a_test() -> None:
    names = [rule["alert"] for rule in RULES]
    assert [row[0].strip("`") for row in rows("Alerts")] == names
    assert {rule["labels"]["severity"] for rule in RULES} == {"page", "ticket"}
    tested = yaml.safe_load((PROMETHEUS / "alerts.test.yml").read_text("utf-8"))["tests"]
    fired = {
        case["alertname"] for test in tested for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }  # fmt: skip
    assert fired == set(names)


@needs_promtool
def test_promtool_accepts_the_alerts_and_their_tests_pass() -> None:
    for arguments in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]):
        done = _promtool(arguments, PROMETHEUS)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    plain = [text.replace("$__rate_interval", "5m").replace("$job", ".*") for text in expressions()]
    queries = [{"record": f"q:{n}", "expr": text} for n, text in enumerate(plain)]
    (tmp_path / "q.yml").write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": queries}]}))
    done = _promtool(["check", "rules", "q.yml"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def _promtool(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    assert promtool is not None
    return subprocess.run(
        [promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
