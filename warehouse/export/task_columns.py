"""What the columns of tasks and of their environments are."""

from warehouse.columns import Column, ListOf, columns
from warehouse.export.columns import Configuration, stored, stored_text
from warehouse.export.shared import PREFERENCE, PROMPT_MESSAGE, TOOLBOX, TOOLS

_LLM_CALL = (
    *stored("llm_calls", "id"),
    *columns(
        "model text Which weights answered, as name@hash; of an endpoint elsewhere name@address, or name@private."
    ),
    *stored("llm_calls", "template template_sha256 seed"),
)
_CHECK = stored("checks", "name outcome evidence")
_CHANGE = columns(
    """
    table text The table.
    operation text insert, update or delete.
    key text Primary key of the row.
    old json Columns before; empty for an insert.
    new json Columns after; empty for a delete.
    """
)
_FACT = columns(
    """
    label text What the fact is.
    kind text How it is compared: text, integer, number, cents, date, datetime or boolean.
    value json The value, or a list of values of which each must be told.
    unit text What a number counts; empty for none.
    """
)
_MEASURED = stored("difficulties", "campaign policy_id attempts solved k pass_at_k")
_SCENARIO = (
    Column("persona", "text", "How the user talks."),
    Column(
        "known",
        ListOf(columns("name text What the request leaves out.\nsaid text What the user says when asked for it.")),
        "What the user can tell.",
    ),
    Column("unknown", ListOf("text"), "Names of things the user cannot tell; they are found with tools."),
)
_GOLDEN = columns("tool text The tool.\narguments json Its arguments.")

TASKS = Configuration(
    "tasks",
    "One row per task: the request, the program that fulfils it, the goal it is judged by, its proof and its origin.",
    (
        *stored("tasks", "id domain"),
        *columns("environment_id text The environment it is posed in: id of the configuration environments."),
        Column("prompt", ListOf(PROMPT_MESSAGE), "What an assistant is told first, as messages: briefing and request."),
        TOOLS,
        *stored("tasks", "instruction"),
        PREFERENCE,
        Column("scenario", _SCENARIO, "A user who leaves things out, to be asked; null where all is in the request."),
        TOOLBOX,
        Column("golden", ListOf(_GOLDEN), "A program that solves the task, found by executing it."),
        *columns("golden_answer text An answer that tells every fact of the goal; empty where there is none to tell."),
        Column(
            "goal",
            (
                Column("changeset", ListOf(_CHANGE), "Net changes of the database to reach."),
                Column("facts", ListOf(_FACT), "What the answer must tell."),
            ),
            "What the verdict is taken against; nothing else may change.",
        ),
        *stored("tasks", "difficulty shape"),
        Column("measured_difficulty", ListOf(_MEASURED), "How often policies solved it; empty where nobody measured."),
        Column("proven", "bool", "Whether the task was put to the proof and no check that rejects failed."),
        Column("checks", ListOf(_CHECK), "The proof, check by check."),
        *columns(
            """
            evolution text How it was made harder from a simpler task; empty if it was not.
            evolved_from text Id of the simpler task; null if there is none.
            """
        ),
        Column("llm_calls", ListOf(_LLM_CALL), "The model calls whose words are in the request."),
        stored_text("tasks", "record"),
    ),
)

_TOOL = (*stored("tools", "name"), *columns("description text What it does."), *stored("tools", "writes"))
_RATE = stored("audits", "fault operator trials wrong low high")
ENVIRONMENTS = Configuration(
    "environments",
    "One row per environment that the tasks are posed in.",
    (
        *stored("environments", "id domain title"),
        *columns("policy text The rules, in markdown."),
        *stored("environments", "clock seed n_tables n_rows base_state_sha256"),
        Column("tools", ListOf(_TOOL), "Its tools."),
        Column("verifier_rates", ListOf(_RATE), "How often its verifiers were wrong when they were audited."),
        Column("llm_calls", ListOf(_LLM_CALL), "The model calls that designed it."),
        stored_text("environments", "record"),
    ),
)

VERL = Configuration(
    "verl",
    "The same tasks with the columns that verl reads.",
    (
        *columns("data_source text Names the scorer: envloom/ and the domain."),
        Column("prompt", ListOf(PROMPT_MESSAGE), "As in the configuration tasks."),
        *columns("ability text Always tool-use."),
        Column(
            "reward_model",
            columns(
                """
                style text Always rule: the environment judges, no model.
                ground_truth json The goal, as in the configuration tasks.
                """
            ),
            "How an answer is judged.",
        ),
        Column(
            "extra_info",
            columns(
                """
                split text The split.
                index int The place in the split, from 0.
                task_id text Id in the configuration tasks.
                environment_id text Id in the configuration environments.
                """
            ),
            "Where to find the rest.",
        ),
    ),
)
