"""From brief to environment: the synthesis stages in order. Candidate tasks are in `generators.tasks`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from envs.spec import EnvironmentSpec, Handmade
from envs.task import Rejection
from generators.brief import Brief, DomainError
from generators.documents import document_spec, write_archive
from generators.documents_tools import DOCUMENT_TOOLS
from generators.free_tools import propose_free_tools
from generators.hooked import DomainHooks
from generators.lifecycles import propose_lifecycles
from generators.operations import OTHER, Operation
from generators.policy import propose_policy
from generators.rows import fill_rows, labels, propose_values
from generators.stage import Llm
from generators.tables import Schema, propose_tables
from generators.tools import compile_tools


@dataclass(frozen=True)
class Synthesis:
    """An environment and everything that was refused on the way to it."""

    spec: EnvironmentSpec
    rejections: tuple[Rejection, ...]
    tool_calls: Mapping[str, str] = field(default_factory=dict)
    """The LLM call that wrote a tool whole, by the tool's name."""
    operations: Mapping[str, Operation] = field(default_factory=dict)
    """What each tool does, by its name, in the order of the tools."""


def synthesise(brief: Brief, domain: str, llm: Llm, hooks: DomainHooks | None = None) -> Synthesis:
    """The environment of a brief, and every proposal that was refused on the way to it.

    `domain` is its name, `llm` answers the requests (a `serving.Ledger`, live or replaying) and `hooks` holds the
    domain's own Python. Same brief, hooks and answers: same specification. It blocks while the model answers, and may
    be called where an event loop runs, as in a notebook. Raises StageFailed where no answer of a stage can be used, and
    HookError for hooks that raise or make what does not fit the tables.

        environment = Environment.load(synthesise(load_brief(folder), "library", ledger).spec)
    """
    hooks = hooks or DomainHooks()
    if brief.kind == "documents":
        return _documents(brief, domain, llm, hooks)
    schema, refused_tables, from_tables = propose_tables(brief, domain, llm)
    values, refused_values, from_values = propose_values(brief, schema, domain, llm)
    schema = schema.without({name for name in labels(schema) if name not in values})
    lifecycles, refused_lifecycles, from_lifecycles = propose_lifecycles(brief, schema, domain, llm)
    own_tools = hooks.tools(schema)
    compiled_tools = compile_tools(brief, schema, lifecycles, domain)
    tools = (*(compiled.tool for compiled in compiled_tools), *own_tools)
    spec = EnvironmentSpec(
        domain=domain,
        title=brief.title,
        policy="",
        tables=schema.tables,
        rows=fill_rows(brief, schema, values, domain, hooks.own_rows(brief, schema, domain)),
        tools=tools,
        clock=brief.clock,
        seed=brief.seed,
        handmade=Handmade(source=hooks.id, tools=tuple(tool.name for tool in own_tools)) if hooks.id else None,
    )
    if own_tools:
        hooks.check_tools(spec)
    trial = _trial(spec, brief.as_asked(), schema, values, hooks) if brief.sizes.free_tools else spec
    free, refused_free, from_free = propose_free_tools(brief, spec, trial, lifecycles, llm)
    operations = {compiled.tool.name: compiled.operation for compiled in compiled_tools}
    operations |= dict.fromkeys((tool.name for tool in (*own_tools, *free)), OTHER)
    policy, refused_policy, from_policy = propose_policy(brief, operations, domain, llm)
    spec = spec.model_copy(
        update={
            "policy": policy,
            "tools": (*tools, *free),
            "proposed": tuple(tool.name for tool in free),
            "made_from": tuple(sorted({*from_tables, *from_values, *from_lifecycles, *from_free, *from_policy})),
        }
    )
    refused = (*refused_tables, *refused_values, *refused_lifecycles, *refused_free, *refused_policy)
    free_calls = {tool.name: call for tool, call in zip(free, from_free, strict=True)}
    return Synthesis(spec, refused, free_calls, operations)


def _trial(
    spec: EnvironmentSpec, asked: Brief, schema: Schema, values: dict[str, tuple[str, ...]], hooks: DomainHooks
) -> EnvironmentSpec:
    """The environment in which answers are tried out: the same under every seed of the page."""
    rows = fill_rows(asked, schema, values, spec.domain, hooks.own_rows(asked, schema, spec.domain))
    return spec.model_copy(update={"rows": rows, "clock": asked.clock, "seed": asked.seed})


def _documents(brief: Brief, domain: str, llm: Llm, hooks: DomainHooks) -> Synthesis:
    if unused := {"rows", "tools"} & set(hooks.written):
        raise DomainError(f"{hooks.file}: {min(unused)}: a domain of kind documents takes only `tasks` from its hooks.")
    if brief.sizes.paraphrases:
        raise DomainError(
            "sizes.paraphrases: must be 0 for a domain of kind documents: a question over several documents hangs on "
            "every word of it. Leave it out."
        )
    archive = write_archive(brief, domain, llm)
    spec = document_spec(brief, domain, archive)
    if hooks.id:
        spec = spec.model_copy(update={"handmade": Handmade(source=hooks.id, tools=())})
    operations = {compiled.tool.name: compiled.operation for compiled in DOCUMENT_TOOLS}
    return Synthesis(spec, archive.rejections, operations=operations)
