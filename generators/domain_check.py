"""`envloom domain check`: read, synthesise, prove a few tasks, and say what is wrong in terms of the brief.

Whatever needs no model is checked in any case; what could not be checked is said.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from envs.environment import Environment
from envs.proof import Known, Proof, prove
from envs.spec import EnvironmentSpec
from envs.task import Task
from generators import diagnosis
from generators.brief import Brief, DomainError, load_brief
from generators.candidates import propose_candidates
from generators.diagnosis import Finding
from generators.discovery import RECORDING, UnknownDomain, domain_folder
from generators.domain import Synthesis, synthesise
from generators.hooked import DomainHooks, load_hooks
from generators.own_tasks import own_tasks
from generators.phrases import is_drawn
from generators.stage import Llm, StageFailed, SynthesistNotSet
from generators.wording import Wording
from serving.errors import ReplayMiss, ServingError

WANTED = 5
"""Proven tasks of a dry synthesis."""
DRAWS = 40
MODEL_STAGES = ("tables", "rows", "tools", "policy", "wording", "tasks", "proof")


@dataclass
class Report:
    """What is known of a domain after a check."""

    domain: str
    folder: str = ""
    lines: list[str] = field(default_factory=list)
    """For people: what there is."""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    """The proven tasks of the dry synthesis."""
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[dict[str, str]] = field(default_factory=list)
    """`what` and `why`."""

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "problem"]

    @property
    def advice(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == "advice"]

    def left_out(self) -> dict[str, list[str]]:
        """What was not checked, by reason."""
        reasons = dict.fromkeys(each["why"] for each in self.not_checked)
        return {why: [each["what"] for each in self.not_checked if each["why"] == why] for why in reasons}

    def as_json(self) -> dict[str, Any]:
        told = {name: [asdict(finding) for finding in getattr(self, name)] for name in ("problems", "advice")}
        kept = {name: getattr(self, name) for name in ("domain", "folder", "lines", "tasks", "not_checked")}
        return {**kept, **told}


def check_domain(name: str, synthesist: Callable[[], Llm], *, live: bool = False) -> Report:
    """The report on a domain. `synthesist` gives the model that answers, or the recording if not `live`.

    `synthesist` may raise SynthesistNotSet, which is a problem of the report. Raises UnknownDomain.
    """
    report = Report(name)
    try:
        folder = domain_folder(name)
        report.folder = str(folder)
        brief = load_brief(folder)
        report.lines.append(f"brief        {brief.title} ({folder / 'domain.yaml'})")
        report.findings += diagnosis.of_page(brief)
        hooks = load_hooks(name)
        if hooks.id:
            report.lines.append(f"hooks        {', '.join(hooks.written) or 'none written yet'} ({hooks.file})")
    except UnknownDomain:
        raise
    except DomainError as error:
        report.findings += [Finding("", line, "", "problem") for line in str(error).splitlines()]
        return report
    if not live and not (folder / RECORDING).is_file():
        why = f"there is no {RECORDING}; `envloom record {name}` makes one, --live asks a model now"
        report.not_checked += [{"what": stage, "why": why} for stage in _left_out(hooks)]
        return report
    try:
        _try_out(report, brief, hooks, synthesist())
    except ReplayMiss as error:
        remedy = f"Record again with `envloom record {name}`: only what is new is asked"
        report.findings.append(Finding(RECORDING, f"does not answer all that is asked: {error}", remedy, "problem"))
    except StageFailed as error:
        report.findings.append(diagnosis.of_stage(error))
    except (DomainError, SynthesistNotSet, ServingError) as error:
        report.findings.append(Finding("", str(error), "", "problem"))
    return report


def _left_out(hooks: DomainHooks) -> list[str]:
    return [*MODEL_STAGES, *(f"hooks.{method}" for method in hooks.written)]


def _try_out(report: Report, brief: Brief, hooks: DomainHooks, ledger: Llm) -> None:
    """The dry synthesis: everything that happens to a domain, on five tasks."""
    made = synthesise(brief, report.domain, ledger, hooks)
    report.lines += _described(made)
    report.findings += diagnosis.of_synthesis(brief, made)
    environment = Environment.load(made.spec)
    found = propose_candidates(_small(brief), environment, ledger, hooks)
    wording, refused = found.wording, [each for each in found.rejections if each.stage == "programs"]
    own = own_tasks(hooks, environment, wording, DRAWS).tasks
    drawn = list(_until_proven(environment, [task for task in found.tasks if task.id not in found.drafted], WANTED))
    report.findings += diagnosis.of_proof(drawn, refused, WANTED)
    own_drawn = list(_until_proven(environment, own, len(own)))
    place = f"{hooks.file}: tasks"
    report.findings += diagnosis.of_own_tasks(own_drawn, place)
    report.findings += _of_wording(wording)
    report.findings += _of_own_tools(made.spec, own, hooks)
    report.findings += _of_chance(brief, made, own, hooks, environment, wording, ledger)
    proven = [task for task, proof in (*drawn, *own_drawn) if proof.accepted]
    report.lines.append(f"proven       {_accepted(drawn)} of {len(drawn)} sampled tasks")
    if "tasks" in hooks.written:
        report.lines.append(f"             {_accepted(own_drawn)} of {len(own_drawn)} tasks of its own")
    report.lines += [f"  {task.instruction}" for task in proven[: WANTED + 3]]
    report.tasks += [
        {"instruction": task.instruction, "golden": [call.model_dump() for call in task.golden]} for task in proven
    ]


def _small(brief: Brief) -> Brief:
    """The brief with as many candidates as a dry synthesis draws, and no call per task."""
    return brief.model_copy(update={"sizes": brief.sizes.model_copy(update={"tasks": DRAWS, "paraphrases": 0})})


def _described(made: Synthesis) -> Iterator[str]:
    """Tables and tools, so that hooks can be written against them."""
    for table in made.spec.tables:
        columns = ", ".join(["id", *(column.name for column in table.columns)])
        yield f"table        {table.name}: {columns} ({len(made.spec.rows[table.name])} rows)"
    own = made.spec.handmade.tools if made.spec.handmade else ()
    yield f"tools        {', '.join(tool.name for tool in made.spec.tools)}"
    if own:
        yield f"             of its own: {', '.join(own)}"


def _until_proven(environment: Environment, tasks: Sequence[Task], wanted: int) -> Iterator[tuple[Task, Proof]]:
    """Tasks with their proofs, until so many are accepted."""
    known = Known()
    for task in tasks:
        if wanted == 0:
            return
        proof = prove(task, environment, known)
        if proof.accepted:
            known.add(task)
            wanted -= 1
        yield task, proof


def _accepted(drawn: Sequence[tuple[Task, Proof]]) -> int:
    return sum(proof.accepted for _, proof in drawn)


def _of_wording(wording: Wording) -> Iterator[Finding]:
    plain = [name for name, phrasing in wording.phrasings.items() if phrasing.call_id is None]
    if plain:
        what = f"the model found no words for {', '.join(plain)}; it is worded by rule"
        yield Finding("description", what, "Say how people ask for it, or use a stronger synthesist")


def _of_own_tools(spec: EnvironmentSpec, own: Sequence[Task], hooks: DomainHooks) -> Iterator[Finding]:
    used = {call.tool for task in own for call in task.golden}
    for name in spec.handmade.tools if spec.handmade else ():
        if name not in used and not is_drawn(spec.tool(name), spec):
            remedy = "Write a draft in `tasks` that calls it; or let it write, and give each parameter its `source`"
            yield Finding(f"{hooks.file}: tools", f"no task can use {name}", remedy)


def _of_chance(
    brief: Brief,
    made: Synthesis,
    own: Sequence[Task],
    hooks: DomainHooks,
    environment: Environment,
    wording: Wording,
    ledger: Llm,
) -> Iterator[Finding]:
    """Hooks asked a second time must give the same: what they make could not be made again otherwise."""
    remedy = "Take chance from the rng you are given, and the date from the clock"
    again = synthesise(brief, made.spec.domain, ledger, hooks).spec
    changed = [name for name, rows in made.spec.rows.items() if rows != again.rows[name]]
    if changed:
        what = f"gives other rows of {', '.join(changed)} each time"
        yield Finding(f"{hooks.file}: rows", what, remedy, "problem")
    elif again.id != made.spec.id:
        yield Finding(f"{hooks.file}: tools", "gives other tools each time", remedy, "problem")
    if [task.id for task in own] != [task.id for task in own_tasks(hooks, environment, wording, DRAWS).tasks]:
        yield Finding(f"{hooks.file}: tasks", "gives other drafts each time", remedy, "problem")
