"""What tests of experts, users and baselines share: a campaign's pool, a library beside the shop, a talking task."""

from collections.abc import Sequence

from envs.environment import Environment
from envs.experts import Competence, SimulatedProfile
from envs.spec import EnvironmentSpec, Parameter, Returns, Tool
from envs.task import Scenario, Task
from envs.toolbox import ToolboxConfig
from tests.fixtures import call, make_task, shop_spec
from trainer.settings import RolloutConfig

SAGE = SimulatedProfile(
    name="sage",
    capability="Knows everything.",
    input_usd_per_mtok=2.0,
    output_usd_per_mtok=8.0,
    competence=(Competence(probability=1.0),),
    latency_s=3.0,
    thinking_tokens=100,
)
FOOL = SimulatedProfile(
    name="fool",
    capability="Is cheap.",
    input_usd_per_mtok=0.02,
    output_usd_per_mtok=0.08,
    competence=(Competence(probability=0.0),),
    latency_s=0.5,
)


def with_experts(*pool: SimulatedProfile, **settings: object) -> RolloutConfig:
    """One sample of everything, all of `pool` in every toolbox."""
    toolbox = ToolboxConfig(pool=pool, experts=len(pool))
    return RolloutConfig(samples_per_task=1, max_turns=10, toolbox=toolbox).model_copy(update=settings)


def library_spec() -> EnvironmentSpec:
    """The shop under another name with other tools, one of which writes: for distractors."""
    renew = Tool(
        name="renew_loan",
        description="Renew a loan.",
        parameters=(Parameter(name="loan_id", type="string"),),
        effects=("UPDATE orders SET status = 'shipped' WHERE id = :loan_id",),
        returns=Returns(sql="SELECT id, status FROM orders WHERE id = :loan_id"),
    )
    count = Tool(
        name="count_books",
        description="Count the books.",
        returns=Returns(sql="SELECT count(*) AS books FROM products", shape="scalar"),
    )
    return shop_spec(domain="library", title="A library", tools=(renew, count))


def talking_task(shop: Environment, unknown: Sequence[str] = ("status",)) -> Task:
    """`cancel my order` by a user who knows which one when asked."""
    task = make_task(shop, "Please cancel my order.", [call("cancel_order", order_id="ORD-1")])
    scenario = Scenario(persona="a customer of few words", known={"order id": "ORD-1"}, unknown=tuple(unknown))
    return task.model_copy(update={"scenario": scenario})
