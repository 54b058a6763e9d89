"""Columns that several datasets have, and the values that go into them. What is in which dataset is said elsewhere."""

from collections.abc import Sequence
from typing import Any

from envs.record import canonical_json
from envs.task import Preference, Scenario, Toolbox, ToolCall
from warehouse.columns import Column, ListOf, columns

PROMPT_MESSAGE = columns(
    """
    role text system or user.
    content text The words.
    """
)
"""A message before the assistant's first: some chat templates refuse even a null `tool_calls` there."""
MESSAGE = columns(
    """
    role text system, user, assistant or tool.
    content text The words; empty where an assistant only calls tools.
    tool_calls json An assistant's calls, each {id, type: function, function: {name, arguments}}; null elsewhere.
    tool_call_id text Of a tool message: the id of the call it answers; null elsewhere.
    name text Of a tool message: the tool that answers; null elsewhere.
    """
)
"""A message of chat APIs and chat templates.

`tool_calls` is one JSON value and no list of structs with JSON in them: where such a list is null in all rows of a
chunk, `datasets` can read it and not write it again (`MakeBuilder: cannot construct builder for extension<arrow.json>`,
seen in datasets 5.2 with pyarrow 26).
"""

TOOLS = Column("tools", ListOf("json"), "The tools on offer, as functions with JSON schemas, for chat templates.")

TOOLBOX = Column(
    "toolbox",
    (
        *columns("tools text[] Names of the domain's tools on offer, in the order in which they are shown."),
        Column(
            "call_prices_usd",
            ListOf(columns("tool text A tool or distractor.\nusd real Price of one call, in USD.")),
            "What one call costs.",
        ),
        *columns(
            """
            input_usd_per_mtok real Price of the policy's prompt tokens, in USD per million.
            output_usd_per_mtok real Price of the policy's completion tokens, in USD per million.
            """
        ),
        Column(
            "distractors",
            ListOf(columns("tool text Name of the tool.\nenvironment_id text The environment it belongs to.")),
            "Tools of other domains among those on offer.",
        ),
        Column(
            "experts",
            ListOf(
                columns(
                    """
                    name text The name it has in this conversation, which says nothing.
                    profile text Which expert stands behind the name; never shown to the policy.
                    capability text What the policy reads of it.
                    input_usd_per_mtok real Price of its prompt tokens, in USD per million.
                    output_usd_per_mtok real Price of its completion tokens, in USD per million.
                    simulated bool Whether it is a declared competence and no model.
                    """
                )
            ),
            "Other models on offer as tools.",
        ),
    ),
    "What may be used, and what it costs.",
)

WEIGHTS = (
    *columns(
        """
        accuracy real Weight of solving the task.
        cost real Weight of low cost.
        latency real Weight of low latency.
        """
    ),
    Column("tools", ListOf(columns("tool text Name.\nweight real Weight of each call to it.")), "Weights of tools."),
    Column("held_out", "bool", "Whether these words are kept from training."),
)
PREFERENCE = Column(
    "preference",
    (Column("text", "text", "How the user says it; empty where no preference is stated."), *WEIGHTS),
    "How the user wants it done, in words and as the weights of the reward; weights count where there are words.",
)


def prompt_message(role: str, content: str) -> dict[str, Any]:
    """A row of PROMPT_MESSAGE."""
    return {"role": role, "content": content}


def message(
    role: str, content: str, calls: Sequence[ToolCall] = (), first_call: int = 0, answers: tuple[str, str] | None = None
) -> dict[str, Any]:
    """A row of MESSAGE. Calls are numbered from `first_call`; `answers` is the id and the tool of the call answered."""
    tool_calls = [
        {"id": call_id(number), "type": "function", "function": {"name": call.tool, "arguments": call.arguments}}
        for number, call in enumerate(calls, first_call)
    ]
    return {
        "role": role,
        "content": content,
        "tool_calls": json_text(tool_calls) if tool_calls else None,
        "tool_call_id": answers and answers[0],
        "name": answers and answers[1],
    }


def call_id(place: int) -> str:
    """Nine letters and digits, since some chat templates insist on that: `call00003`."""
    return f"call{place:05d}"


def json_text(value: Any) -> str:
    return canonical_json(value).decode()


def toolbox_row(toolbox: Toolbox) -> dict[str, Any]:
    """The value of TOOLBOX."""
    return {
        **toolbox.model_dump(exclude={"call_prices_usd"}),
        "call_prices_usd": [{"tool": tool, "usd": usd} for tool, usd in sorted(toolbox.call_prices_usd.items())],
        "distractors": [distractor.model_dump() for distractor in toolbox.distractors],
        "experts": [expert.model_dump() for expert in toolbox.experts],
    }


def preference_row(preference: Preference) -> dict[str, Any]:
    """The value of PREFERENCE."""
    tools = [{"tool": tool, "weight": weight} for tool, weight in sorted(preference.tools.items())]
    return {**preference.model_dump(), "tools": tools}


def scenario_row(scenario: Scenario | None) -> dict[str, Any] | None:
    """The value of a column of tasks with a user who can be asked."""
    if scenario is None:
        return None
    known = [{"name": name, "said": said} for name, said in scenario.known.items()]
    return {"persona": scenario.persona, "known": known, "unknown": list(scenario.unknown)}
