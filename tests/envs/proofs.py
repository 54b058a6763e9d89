"""What the tests of the proof share: the checks that a task fails, the shop with more tools, and accounts."""

from envs.environment import Environment
from envs.proof import CheckOutcome, prove
from envs.spec import Column, EnvironmentSpec, Parameter, Returns, Table, Tool
from envs.task import Task
from tests.fixtures import shop_spec


def shop_with(*tools: Tool) -> Environment:
    return Environment.load(shop_spec(tools=(*shop_spec().tools, *tools)))


def failures(task: Task, environment: Environment) -> list[str]:
    return [check.name for check in prove(task, environment).checks if check.outcome is CheckOutcome.FAILED]


def account_spec() -> EnvironmentSpec:
    """One table of accounts, with an amount, a date and a choice that people word in their own way."""
    table = Table(
        name="accounts",
        id_prefix="ACC",
        columns=(
            Column(name="limit_cents", type="cents"),
            Column(name="review_on", type="date"),
            Column(name="locked", type="boolean"),
            Column(name="level", type="text"),
        ),
    )
    tool = Tool(
        name="configure",
        description="",
        parameters=(
            Parameter(name="account_id", type="string", source="accounts.id"),
            Parameter(name="limit", type="integer", source="accounts.limit_cents"),
            Parameter(name="review_on", type="string", format="date"),
            Parameter(name="locked", type="boolean"),
            Parameter(name="level", type="string", description="The service level: L1 is standard."),
        ),
        effects=(
            "UPDATE accounts SET limit_cents = :limit, review_on = :review_on, locked = :locked, level = :level "
            "WHERE id = :account_id",
        ),
        returns=Returns(sql="SELECT id FROM accounts WHERE id = :account_id"),
    )
    return EnvironmentSpec(
        domain="accounts",
        title="Accounts",
        policy="",
        tables=(table,),
        rows={"accounts": tuple((f"ACC-{n}", 5000, "2026-01-01", False, "L3") for n in (1, 2))},
        tools=(tool,),
        clock="2026-03-02T09:00:00",
        seed=1,
    )
