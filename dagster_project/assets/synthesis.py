"""Synthesis, one partition per domain: brief → environment → candidate tasks → proven tasks."""

from typing import Any

import dagster as dg

import envs
import generators
from dagster_project import report, stored
from dagster_project.lineage import code_version, consume, record
from dagster_project.partitions import DOMAINS
from dagster_project.proving import prove_all
from dagster_project.resources import Synthesist, Workshop
from envs.environment import Environment
from envs.record import content_id
from generators import brief as briefs
from generators import domain as domains
from generators import phrases, tasks
from warehouse.lineage import Edge

SYNTHESIS: dict[str, Any] = {"group_name": "synthesis", "partitions_def": DOMAINS, "owners": ["team:environments"]}


@dg.asset(**SYNTHESIS, kinds={"yaml"}, code_version=code_version(briefs))
def brief(context: dg.AssetExecutionContext, workshop: Workshop) -> dg.MaterializeResult[Any]:
    """The page a person wrote about the domain, checked field by field and kept under its hash."""
    page = briefs.load_brief(briefs.domain_folder(context.partition_key))
    version = content_id(page.model_dump(mode="json"))
    (workshop.home.artefacts / f"brief-{version}.json").write_text(page.model_dump_json(indent=1))
    return record(context, workshop.warehouse(), {}, data_version=version, metadata=report.brief(page))


@dg.asset(**SYNTHESIS, kinds={"sqlite", "llm"}, deps=[brief], pool="llm", code_version=code_version(generators))
def environment(
    context: dg.AssetExecutionContext, workshop: Workshop, synthesist: Synthesist
) -> dg.MaterializeResult[Any]:
    """Tables, rows, tools and policy of the domain, written by the synthesist and compiled to a sealed database."""
    warehouse = workshop.warehouse()
    page_batch = consume(warehouse, "brief", context.partition_key)
    page_file = workshop.home.artefacts / f"brief-{page_batch.data_version}.json"
    page = briefs.Brief.model_validate_json(page_file.read_bytes())
    ledger = synthesist.ledger(context.partition_key, workshop.home)
    made = domains.synthesise(page, context.partition_key, ledger)
    calls = {*made.spec.made_from, *(call for rejection in made.rejections for call in rejection.made_from)}
    loaded = Environment.load(made.spec)
    return record(
        context,
        warehouse,
        {
            "environments": [stored.environment_row(loaded)],
            "tools": stored.tool_rows(made.spec),
            "llm_calls": stored.call_rows(ledger, calls),
            "rejections": stored.rejection_rows(made.rejections),
        },
        inputs=[page_batch],
        edges=stored.call_edges(made.spec.made_from, "environment", made.spec.id, "designed"),
        metadata=report.environment(made.spec, made.rejections),
    )


@dg.asset(**SYNTHESIS, kinds={"llm"}, deps=[brief, environment], pool="llm", code_version=code_version(generators))
def candidate_tasks(
    context: dg.AssetExecutionContext, workshop: Workshop, synthesist: Synthesist
) -> dg.MaterializeResult[Any]:
    """Golden programs sampled in the environment and worded as user requests."""
    warehouse = workshop.warehouse()
    page_batch = consume(warehouse, "brief", context.partition_key)
    used = consume(warehouse, "environment", context.partition_key)
    page_file = workshop.home.artefacts / f"brief-{page_batch.data_version}.json"
    page = briefs.Brief.model_validate_json(page_file.read_bytes())
    spec = stored.read_spec(warehouse, used)
    ledger = synthesist.ledger(context.partition_key, workshop.home)
    phrasings, refused = phrases.propose_phrases(spec, ledger)
    proposal = tasks.propose_tasks(Environment.load(spec), phrasings, page.sizes.tasks, page.seed)
    rejections = [*refused, *proposal.rejections]
    calls = {p.call_id for p in phrasings.values() if p.call_id} | {call for r in rejections for call in r.made_from}
    edges = [edge for t in proposal.tasks for edge in stored.call_edges(t.made_from, "task", t.id, "worded")]
    return record(
        context,
        warehouse,
        {
            "tasks": stored.task_rows(proposal.tasks),
            "llm_calls": stored.call_rows(ledger, calls),
            "rejections": stored.rejection_rows(rejections),
        },
        inputs=[page_batch, used],
        edges=edges,
        metadata=report.candidates(proposal.tasks, rejections, phrasings),
    )


@dg.asset(
    **SYNTHESIS,
    kinds={"sqlite"},
    deps=[environment, candidate_tasks],
    code_version=code_version(envs),
    check_specs=[
        dg.AssetCheckSpec("some_tasks_are_proven", asset="proven_tasks", blocking=True),
        dg.AssetCheckSpec("verifiers_discriminate", asset="proven_tasks", blocking=True),
        dg.AssetCheckSpec("every_write_tool_is_exercised", asset="proven_tasks"),
    ],
)
def proven_tasks(context: dg.AssetExecutionContext, workshop: Workshop):  # type: ignore[no-untyped-def]
    """The candidates whose verifier is proven to discriminate; the others are stored with the check they failed."""
    warehouse = workshop.warehouse()
    world = consume(warehouse, "environment", context.partition_key)
    used = consume(warehouse, "candidate_tasks", context.partition_key)
    candidates = stored.read_tasks(warehouse, used)
    loaded = Environment.load(stored.read_spec(warehouse, world))
    found = prove_all(loaded, candidates, workshop.home.held_out_texts())
    result = record(
        context,
        warehouse,
        {
            "tasks": stored.task_rows(found.accepted),
            "checks": stored.check_rows(found.proofs, loaded.id),
            "audits": stored.audit_rows(found.audit),
            "rejections": stored.rejection_rows(found.rejections(context.partition_key)),
        },
        inputs=[world, used],
        edges=[Edge("environment", loaded.id, "task", task.id, "proves") for task in found.accepted],
        metadata=report.proofs(found.proofs, found.accepted) | report.audited(found.audit),
    )
    return result._replace(check_results=report.proof_checks(loaded.spec, found.accepted, found.audit))
