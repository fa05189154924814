"""What the services can be asked for at /metrics, and what an expression of PromQL asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import promql_parser
import structlog

from countersign.runtime.watching.metrics import Metrics
from services.enrolment import wiring as enrolment
from services.exports import wiring as exports
from services.notifier.counters import Counters
from services.risk_evaluator import wiring as risk_evaluator
from services.verifier.journal import Journal
from services.verifier.unsettled import UnsettledTexts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

# Set by the scrape configuration (deploy/alerts/prometheus.yaml), or by Prometheus itself.
OF_THE_TARGET = frozenset({"job", "instance", "service"})
OF_PROMETHEUS = {"up": frozenset[str]()}


def registry() -> CollectorRegistry:
    """Return what the runtime and all six services count, in one registry."""
    found = Metrics().registry
    Counters(found)
    Journal(structlog.get_logger(), found)
    UnsettledTexts(found)
    exports.exports_counter(found)
    risk_evaluator.assessments_counter(found)
    enrolment.members_counter(found)
    enrolment.exceeded_counter(found)
    return found


def series(found: CollectorRegistry) -> dict[str, frozenset[str]]:
    """Return the name of each series with its labels, those of the target left out."""
    names: dict[str, frozenset[str]] = {}
    for name, collector in found._names_to_collectors.items():  # noqa: SLF001 - labels of series without a sample
        labels = set(getattr(collector, "_labelnames", ()))
        if name.endswith("_bucket"):
            labels.add("le")
        names[name] = frozenset(labels)
    # Those of the process itself are known by their samples alone.
    samples = {sample.name: sample.labels for metric in found.collect() for sample in metric.samples}
    return {name: frozenset(labels) for name, labels in samples.items()} | names


def helps(found: CollectorRegistry) -> dict[str, str]:
    """Return the help text of each metric of ours."""
    return {metric.name: metric.documentation for metric in found.collect() if metric.name.startswith("countersign_")}


def asked(expression: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each series that an expression reads, with the labels that it uses of it.

    Labels of `by` and `on` are counted to every series below them. Raises ValueError if it is no PromQL.
    """
    yield from _asked(promql_parser.parse(expression), frozenset())


def _asked(node: promql_parser.Expr, grouped: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    match node:
        case promql_parser.VectorSelector():
            used = {matcher.name for matcher in node.matchers.matchers}
            yield node.name or "", grouped | used
        case promql_parser.MatrixSelector():
            yield from _asked(node.vector_selector, grouped)
        case promql_parser.AggregateExpr():
            named = node.modifier.labels if node.modifier is not None else ()
            yield from _asked(node.expr, grouped | frozenset(named))
        case promql_parser.BinaryExpr():
            for side in (node.lhs, node.rhs):
                yield from _asked(side, grouped)
        case promql_parser.Call():
            for argument in node.args:
                yield from _asked(argument, grouped)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _asked(node.expr, grouped)
        case _:
            return


def unknown_in(expression: str, known: dict[str, frozenset[str]]) -> list[str]:
    """Return what an expression asks for and nobody has: metrics, and labels of metrics."""
    found = []
    for name, labels in asked(expression):
        has = known.get(name, OF_PROMETHEUS.get(name))
        if has is None:
            found.append(f"no metric {name}")
        else:
            found += [f"{name} has no label {label}" for label in sorted(labels - has - OF_THE_TARGET)]
    return found
