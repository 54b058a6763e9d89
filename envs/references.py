"""References that a tool writes from its arguments: a guard must ask for the row that an argument refers to."""

from collections.abc import Sequence

from envs.errors import SpecError
from envs.spec import EnvironmentSpec
from envs.sql_text import REMEDY, UnreadableSql, assigned_parameters
from envs.state import Statement


def check_references(place: str, effect: str, guards: Sequence[Statement], spec: EnvironmentSpec) -> None:
    """A reference written from an argument needs a guard that asks for the row: a refusal then says what is missing.

    Raises SpecError.
    """
    try:
        assigned = assigned_parameters(effect, spec)
    except UnreadableSql as error:
        raise SpecError(place, str(error), REMEDY) from error
    for table, column, parameter in assigned:
        target = spec.table(table).column(column).references if column != "id" else None
        if target is None:
            continue
        if not any(target in guard.reads and parameter in guard.names for guard in guards):
            what = f"writes {table}.{column} from :{parameter}, and no guard asks whether {target} has it"
            raise SpecError(place, what, f"Add a guard: SELECT 1 FROM {target} WHERE id = :{parameter}")
