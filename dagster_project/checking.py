"""Trying a domain outside Dagster: a dry synthesis with proof, and the recording of its calls."""

from datetime import date
from typing import Any

from dagster_project.home import Home
from dagster_project.resources import RECORDING, Synthesist, SynthesistNotSet
from envs.environment import Environment
from envs.errors import SpecError
from envs.proof import prove
from generators.brief import DomainError, domain_folder, load_brief
from generators.domain import synthesise
from generators.phrases import propose_phrases
from generators.stage import StageFailed
from generators.tasks import propose_tasks
from serving.errors import ServingError
from serving.flags import installed_vllm

DRY_TASKS = 20


def check_domain(name: str, home: Home, *, live: bool = False) -> dict[str, Any]:
    """`{lines, problems}`: what the domain would give, and what is wrong with it."""
    lines: list[str] = []
    try:
        brief = load_brief(domain_folder(name))
        lines.append(f"brief        {brief.title}")
        ledger = Synthesist(mode="live" if live else "recorded").ledger(name, home)
        made = synthesise(brief, name, ledger)
        environment = Environment.load(made.spec)
        lines.append(f"tables       {', '.join(table.name for table in made.spec.tables)}")
        lines.append(f"tools        {len(made.spec.tools)}")
        phrasings, refused = propose_phrases(made.spec, ledger)
    except (DomainError, SynthesistNotSet, StageFailed, SpecError, ServingError) as error:
        return {"lines": lines, "problems": [f"{type(error).__name__}: {error}"]}
    proposal = propose_tasks(environment, phrasings, DRY_TASKS, brief.seed)
    proofs = [prove(task, environment) for task in proposal.tasks]
    proven = [task for task, proof in zip(proposal.tasks, proofs, strict=True) if proof.accepted]
    worded = sum(phrasing.call_id is not None for phrasing in phrasings.values())
    lines.append(f"phrased      {worded} of {len(made.spec.tools)} tools")
    lines.append(f"proven       {len(proven)} of {len(proposal.tasks)} tasks from {DRY_TASKS} draws")
    lines += [f"  {task.instruction}" for task in proven[:5]]
    lines.append(f"refused      {len(made.rejections) + len(refused) + len(proposal.rejections)} answers and draws")
    problems = [] if proven else ["no task could be proven: say more in the brief about what people ask for."]
    return {"lines": lines, "problems": problems}


def record_domain(name: str, home: Home, *, model: str, base_url: str = "") -> dict[str, Any]:
    """Synthesise live and write every call into the domain's folder. What the ledger holds is not asked again."""
    folder = domain_folder(name)
    brief = load_brief(folder)
    ledger = Synthesist(mode="live", model=model, base_url=base_url).ledger(name, home)
    made = synthesise(brief, name, ledger)
    phrasings, refused = propose_phrases(made.spec, ledger)
    rejections = [*made.rejections, *refused]
    calls = {*made.spec.made_from, *(p.call_id for p in phrasings.values() if p.call_id)}
    calls |= {call for rejection in rejections for call in rejection.made_from}
    header = {
        "model": ledger.model,
        "engine": base_url or installed_vllm(),
        "recorded": date.today().isoformat(),
        "prompts": {call.request.template: call.request.template_sha256 for call in ledger.calls(calls)},
    }
    ledger.export_extract(folder / RECORDING, calls, header)
    return {
        "recording": folder / RECORDING,
        "calls": len(calls),
        "tools": len(made.spec.tools),
        "phrased": sum(phrasing.call_id is not None for phrasing in phrasings.values()),
    }
