"""The two ways an environment can be wrong: before it lives (its specification) and while it lives (its SQL broke).

What a caller does wrong is no error here: it is an answer of the tool, `envs.tools.ToolResult(ok=False)`.
"""


class SpecError(Exception):
    """A specification that cannot become an environment: raised by `Environment.load` and `Environment.open`.

    `place` is a path such as `tools.cancel_order.effects[0]`, `what` the fault there and `remedy` how to correct it.
    """

    def __init__(self, place: str, what: str, remedy: str) -> None:
        super().__init__(f"{place}: {what}. {remedy}")
        self.place = place
        self.what = what
        self.remedy = remedy


class EnvironmentBroken(Exception):
    """A tool's own SQL failed at run time. The episode is neither solved nor failed: it is an environment error."""
