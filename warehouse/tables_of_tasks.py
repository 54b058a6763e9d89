"""The tables that synthesis and proof write: model calls, environments, tasks, checks. One line a column.

A line is name, type and meaning. `?` after a type marks a column that older files and parts lack (`columns`).
"""

from warehouse.columns import define_table

TASK_TABLES = (
    define_table(
        "llm_calls",
        "A question to the generator model, and its answer.",
        """
        id text Hash of model and request: the same question has the same id everywhere.
        model text Which weights answered, as name@hash; of an endpoint elsewhere name@address.
        template text The prompt template, named after the stage of synthesis.
        template_sha256 text The hash of that template: the version of the prompt.
        seed big Seed of the sampling.
        prompt_tokens int Tokens of the request; null where the endpoint gave no usage.
        completion_tokens int Tokens of the answer; null where the endpoint gave no usage.
        seconds real Seconds until the answer was complete.
        finish_reason text Why the model stopped: stop or length.
        cost_usd real Price of the call, in USD; null where no price is known.
        record json The call as EnvLoom reads it, canonical JSON.
        """,
    ),
    define_table(
        "environments",
        "An environment: a database, tools and rules.",
        """
        id text Hash of the whole specification.
        domain text The domain.
        title text What it is, in a line.
        n_tables int Tables of its database.
        n_rows int Rows in them.
        n_tools int Tools.
        clock text The moment at which every episode takes place, ISO 8601.
        seed big Seed of its synthesis.
        base_state_sha256 text Hash of the database before an episode.
        record json The specification as EnvLoom reads it, canonical JSON; enough to rebuild the environment.
        """,
    ),
    define_table(
        "tools",
        "A tool of an environment.",
        """
        id text The environment's id and the tool's name.
        environment_id text The environment it belongs to.
        domain text The domain.
        name text Name.
        writes bool Whether it changes the database.
        n_parameters int Parameters.
        record json The tool as EnvLoom reads it, canonical JSON.
        """,
    ),
    define_table(
        "tasks",
        "A task: a request and the goal it is judged by.",
        """
        id text Hash of the whole task.
        environment_id text The environment it is posed in.
        domain text The domain, such as library.
        instruction text The request alone, as the user says it.
        shape text The golden tools in order.
        difficulty int Number of golden calls.
        n_writes int Net changes of the database to reach.
        n_facts int Facts that the answer must tell.
        record json The task as EnvLoom reads it, canonical JSON; its hash is the id.
        """,
    ),
    define_table(
        "splits",
        "A task's split in a dataset.",
        """
        task_id text The task.
        split text The split, such as train or test.
        """,
        key="task_id split",
    ),
    define_table(
        "checks",
        "One check of a task's proof.",
        """
        id text The task's id and the check's name.
        task_id text The task that was checked.
        environment_id text The environment it was executed in.
        name text What was checked, such as not_vacuous.
        outcome text passed, failed or not_applicable.
        evidence text What was found.
        """,
    ),
    define_table(
        "audits",
        "A measured error rate of an environment's verifiers.",
        """
        id text Hash of the audit, the fault and the operator.
        environment_id text The environment that was audited.
        domain text The domain.
        fault text false_positive (a wrong attempt accepted) or false_negative (a right one refused).
        operator text How attempts were made wrong, or all.
        trials int Attempts.
        wrong int Verdicts that were wrong.
        low real Lower end of the 95 % Wilson interval of the rate.
        high real Upper end of it.
        record json The whole audit, canonical JSON.
        """,
    ),
    define_table(
        "rejections",
        "Something proposed and not accepted.",
        """
        id text Hash of the content.
        domain text The domain.
        stage text Where it was rejected, such as rows, phrases, proof or dataset.
        reason text Why, in one word.
        detail text Why, in full.
        record json The rejection with its subject, canonical JSON.
        """,
    ),
    define_table(
        "diversity",
        "How varied a set of tasks is.",
        """
        id text Hash of the scope and the tasks that were measured.
        scope text all, or a domain.
        tasks int Tasks.
        distinct_shapes int Golden programs that differ up to entity renaming.
        tool_bigram_entropy_bits real Shannon entropy of two tools in a row, beginnings and ends included.
        tools int Tools of the environments.
        tools_used int Tools in at least one golden program.
        lexical_diversity real HD-D of the requests, 0 to 1: the expected share of different words among 42 drawn.
        repeated int Tasks taken out because they repeat another one.
        """,
    ),
)
