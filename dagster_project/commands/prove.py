"""`envloom prove`: put an environment's stored candidates to the proof again, and say how far its verifiers hold."""

from collections import Counter
from typing import Any

import typer
from rich.console import Console

from dagster_project.commands.console import AsJson, as_stored, echo, fail, terminal
from dagster_project.commands.env import Name
from dagster_project.commands.summary import table
from dagster_project.home import Home
from envs.environment import Environment
from envs.proof import POLICY, CheckOutcome
from envs.proof.prove_all import Proven, prove_all
from generators.decontamination import read_held_out


def prove(name: Name, as_json: AsJson = False) -> None:
    """Prove an environment's candidate tasks and audit their verifiers; exits with 1 if they do not discriminate."""
    from warehouse.queries.lookup import NotFound, candidate_tasks, find_environment
    from warehouse.warehouse import Warehouse

    home = Home.here()
    warehouse = Warehouse(home.warehouse, home.parts)
    try:
        environment = Environment.load(find_environment(warehouse, name))
    except NotFound as error:
        raise fail(error, 2) from error
    found = prove_all(environment, candidate_tasks(warehouse, environment.id), read_held_out(home.held_out_files()))
    if as_json:
        echo(found.audit.model_dump_json())
    else:
        show(found, terminal())
    if not found.audit.discriminates:
        raise typer.Exit(1)


def show(found: Proven, console: Console) -> None:
    """The checks, the rates and the coverage, for people."""
    audit = found.audit
    console.print(f"{audit.domain} {audit.environment_id}", highlight=False)
    console.print(table("Proof of the candidates", _checks(found)))
    console.print(table("Verifiers of the proven tasks, by attempts of the audit's own", _rates(found)))
    console.print(f"blocked tasks  {audit.blocked} of {audit.candidates} ({audit.blocked_rate:.1%})", highlight=False)
    tools = len(audit.exercised_tools) + len(audit.idle_tools)
    console.print(f"tool coverage  {len(audit.exercised_tools)} of {tools} ({audit.coverage:.0%})", highlight=False)
    console.print(f"never used     {', '.join(audit.idle_tools) or 'none'}", highlight=False, soft_wrap=True)
    for line in audit.evidence:
        console.print(as_stored(line), style="red", soft_wrap=True)


def _checks(found: Proven) -> list[dict[str, Any]]:
    rows = []
    for name, severity in POLICY.items():
        outcomes = Counter(proof.check(name).outcome for proof in found.proofs)
        rows.append(
            {
                "check": name,
                "a failure": f"{severity}s",
                **{str(o).replace("_", " "): outcomes[o] for o in CheckOutcome},
            }
        )
    return rows


def _rates(found: Proven) -> list[dict[str, Any]]:
    return [
        {
            "fault": rate.fault.replace("_", " "),
            "operator": rate.operator,
            "trials": rate.trials,
            "wrong": rate.wrong,
            "95 % interval": f"{rate.low:.2%} to {rate.high:.2%}",
        }
        for rate in found.audit.rates
    ]
