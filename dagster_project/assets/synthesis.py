"""Synthesis, one partition per domain: brief → environment → candidate tasks → proven tasks."""

import json
from typing import Any

import dagster as dg

from dagster_project import dataset_report, report, stored
from dagster_project.asset_tables import table_metadata
from dagster_project.code_versions import code_version
from dagster_project.giving import given_held_out
from dagster_project.partitions import DOMAINS
from dagster_project.pending import waits_for_answers
from dagster_project.record import consume, record
from dagster_project.resources import Synthesist, Workshop
from envs.environment import Environment
from envs.proof.prove_all import Proven, prove_all
from envs.record import content_id
from generators import brief as briefs
from generators import candidates, decontamination, diversity
from generators import domain as domains
from generators.discovery import domain_folder
from generators.hooked import DomainHooks, load_hooks
from serving.ledger import Ledger
from warehouse.lineage import Edge
from warehouse.rows.calls import call_edges, call_rows, hook_edges, refusal_edges
from warehouse.rows.environments import read_spec, tool_rows
from warehouse.rows.measures import diversity_rows
from warehouse.rows.proofs import audit_rows, check_rows
from warehouse.rows.tasks import rejection_rows
from warehouse.warehouse import Batch

Tables = dict[str, list[dict[str, Any]]]
"""Rows by table."""
SYNTHESIS: dict[str, Any] = {"group_name": "synthesis", "partitions_def": DOMAINS, "owners": ["team:environments"]}


@dg.asset(**SYNTHESIS, kinds={"yaml"}, code_version=code_version("brief"), metadata=table_metadata("brief"))
def brief(context: dg.AssetExecutionContext, workshop: Workshop) -> dg.MaterializeResult[Any]:
    """The page a person wrote about the domain, checked field by field and kept under its hash."""
    page = briefs.load_brief(domain_folder(context.partition_key))
    hooks = load_hooks(context.partition_key)
    version = content_id(page.canonical_fields() | ({"hooks": hooks.id} if hooks.id else {}))
    (workshop.home.artefacts / f"brief-{version}.json").write_text(page.model_dump_json(indent=1))
    if hooks.id:
        (workshop.home.artefacts / f"hooks-{hooks.id}.json").write_text(json.dumps(dict(hooks.sources), indent=1))
    return record(context, workshop.warehouse(), {}, data_version=version, metadata=report.brief(page))


@dg.asset(
    **SYNTHESIS,
    kinds={"sqlite", "llm"},
    deps=[brief],
    pool="llm",
    code_version=code_version("environment"),
    metadata=table_metadata("environment"),
    output_required=False,
)
@waits_for_answers
def environment(
    context: dg.AssetExecutionContext, workshop: Workshop, synthesist: Synthesist
) -> dg.MaterializeResult[Any]:
    """Tables, rows, tools and policy of the domain, written by the synthesist and compiled to a sealed database."""
    warehouse, domain = workshop.warehouse(), context.partition_key
    page_batch = consume(warehouse, "brief", domain)
    page = _page(workshop, page_batch)
    ledger, hooks = synthesist.ledger(domain, workshop.home), load_hooks(domain)
    made = domains.synthesise(page, domain, ledger, hooks)
    return record(
        context,
        warehouse,
        _environment_tables(made, ledger),
        inputs=[page_batch],
        edges=_environment_edges(made, ledger, hooks),
        metadata=report.environment(made.spec, made.rejections),
    )


@dg.asset(
    **SYNTHESIS,
    kinds={"llm", "duckdb"},
    deps=[brief, environment],
    pool="llm",
    code_version=code_version("candidate_tasks"),
    metadata=table_metadata("candidate_tasks"),
    output_required=False,
)
@waits_for_answers
def candidate_tasks(
    context: dg.AssetExecutionContext, workshop: Workshop, synthesist: Synthesist
) -> dg.MaterializeResult[Any]:
    """Golden programs sampled in the environment and worded as user requests."""
    warehouse, domain = workshop.warehouse(), context.partition_key
    used = [consume(warehouse, asset, domain) for asset in ("brief", "environment")]
    page, spec = _page(workshop, used[0]), read_spec(warehouse, used[1])
    ledger, hooks = synthesist.ledger(domain, workshop.home), load_hooks(domain)
    made = candidates.propose_candidates(page, Environment.load(spec), ledger, hooks)
    return record(
        context,
        warehouse,
        _candidate_tables(made, ledger),
        inputs=used,
        edges=_candidate_edges(made, hooks),
        metadata=report.candidates(made.tasks, made.rejections, made.wording.phrasings),
    )


@dg.asset(
    **SYNTHESIS,
    kinds={"sqlite", "duckdb"},
    deps=[environment, candidate_tasks],
    code_version=code_version("proven_tasks"),
    metadata=table_metadata("proven_tasks"),
    check_specs=[
        dg.AssetCheckSpec(
            "some_tasks_are_proven",
            asset="proven_tasks",
            description="At least one candidate passed every check of the proof.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "verifiers_discriminate",
            asset="proven_tasks",
            description="Wrong solutions fail and right ones pass, up to the bound of the audit.",
            blocking=True,
        ),
        dg.AssetCheckSpec(
            "every_write_tool_is_exercised",
            asset="proven_tasks",
            description="Each tool that changes something is in the golden program of a proven task.",
        ),
    ],
)
def proven_tasks(context: dg.AssetExecutionContext, workshop: Workshop):  # type: ignore[no-untyped-def]
    """The candidates whose verifier is proven to discriminate; the others are stored with the check they failed."""
    warehouse, domain, files = workshop.warehouse(), context.partition_key, workshop.home.held_out_files()
    used = [consume(warehouse, asset, domain) for asset in ("environment", "candidate_tasks")]
    proposed = stored.read_tasks(warehouse, used[1])
    loaded = Environment.load(read_spec(warehouse, used[0]))
    found = prove_all(loaded, proposed, decontamination.read_held_out(files))
    measured = [diversity.diversity(domain, found.accepted, len(loaded.spec.tools), found.repeated)]
    tables = _proof_tables(loaded, found, measured)
    shown = report.proofs(found.proofs, found.accepted) | report.audited(found.audit)
    shown |= dataset_report.diversity(measured)
    result = record(context, warehouse, tables, inputs=used, metadata=shown, givens=given_held_out(files))
    return result._replace(
        metadata={**(result.metadata or {}), **dataset_report.funnel(warehouse, domain)},
        check_results=report.proof_checks(loaded.spec, found.accepted, found.audit),
    )


def _page(workshop: Workshop, batch: Batch) -> briefs.Brief:
    """The page that a batch of `brief` kept."""
    file = workshop.home.artefacts / f"brief-{batch.data_version}.json"
    return briefs.Brief.model_validate_json(file.read_bytes())


def _environment_tables(made: domains.Synthesis, ledger: Ledger) -> Tables:
    return {
        "environments": [stored.environment_row(Environment.load(made.spec))],
        "tools": tool_rows(made.spec),
        "llm_calls": call_rows(ledger, ledger.used),
        "rejections": rejection_rows(made.rejections),
    }


def _environment_edges(made: domains.Synthesis, ledger: Ledger, hooks: DomainHooks) -> list[Edge]:
    return [
        *stored.design_edges(made, ledger),
        *refusal_edges(made.rejections),
        *hook_edges(hooks.id, "environment", [made.spec.id]),
    ]


def _candidate_tables(made: candidates.Candidates, ledger: Ledger) -> Tables:
    return {
        "tasks": stored.task_rows(made.tasks),
        "llm_calls": call_rows(ledger, ledger.used),
        "rejections": rejection_rows(made.rejections),
    }


def _candidate_edges(made: candidates.Candidates, hooks: DomainHooks) -> list[Edge]:
    edges = [edge for t in made.tasks for edge in call_edges(t.made_from, "task", t.id, "worded")]
    edges += hook_edges(hooks.id, "task", made.drafted)
    return edges + refusal_edges(made.rejections)


def _proof_tables(environment: Environment, found: Proven, measured: list[diversity.Diversity]) -> Tables:
    domain = environment.spec.domain
    return {
        "tasks": stored.task_rows(found.accepted),
        "checks": check_rows(found.proofs, environment.id),
        "audits": audit_rows(found.audit),
        "rejections": rejection_rows(found.rejections(domain)),
        "diversity": diversity_rows(measured, found.accepted),
    }
