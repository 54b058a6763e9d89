"""From brief to environment: the synthesis stages in order. Candidate tasks are in `generators.tasks`."""

from dataclasses import dataclass

from envs.spec import EnvironmentSpec
from envs.task import Rejection
from generators.brief import Brief
from generators.policy import propose_policy
from generators.rows import fill_rows, labels, propose_values
from generators.stage import Llm
from generators.tables import propose_tables
from generators.tools import compile_tools, propose_lifecycles


@dataclass(frozen=True)
class Synthesis:
    """An environment and everything that was refused on the way to it."""

    spec: EnvironmentSpec
    rejections: tuple[Rejection, ...]


def synthesise(brief: Brief, domain: str, llm: Llm) -> Synthesis:
    """The environment of a brief. Same brief, same answers: same specification. Raises StageFailed."""
    schema, refused_tables, from_tables = propose_tables(brief, domain, llm)
    values, refused_values, from_values = propose_values(brief, schema, domain, llm)
    schema = schema.without({name for name in labels(schema) if name not in values})
    lifecycles, refused_lifecycles, from_lifecycles = propose_lifecycles(brief, schema, domain, llm)
    tools = compile_tools(brief, schema, lifecycles, domain)
    policy, refused_policy, from_policy = propose_policy(brief, tools, domain, llm)
    spec = EnvironmentSpec(
        domain=domain,
        title=brief.title,
        policy=policy,
        tables=schema.tables,
        rows=fill_rows(brief, schema, values, domain),
        tools=tools,
        clock=brief.clock,
        seed=brief.seed,
        made_from=tuple(sorted({*from_tables, *from_values, *from_lifecycles, *from_policy})),
    )
    return Synthesis(spec, (*refused_tables, *refused_values, *refused_lifecycles, *refused_policy))
