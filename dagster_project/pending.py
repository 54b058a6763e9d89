"""Assets in batch mode: a run that has to wait for answers ends well, without a result, and says what it waits for."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import dagster as dg

from serving.errors import AnswersPending

Result = dg.MaterializeResult[Any]


def waits_for_answers(asset: Callable[..., Result]) -> Callable[..., Iterator[Result]]:
    """For an asset with `output_required=False`: while its questions wait in a batch file, nothing is materialised.

    What depends on it is skipped. Materialised again after the import of the answers, it goes on from there.
    """

    @wraps(asset)
    def waiting(
        context: dg.AssetExecutionContext, *given: Any, **resources: Any
    ) -> Iterator[dg.MaterializeResult[Any]]:
        try:
            yield asset(context, *given, **resources)
        except AnswersPending as pending:
            context.log.warning(str(pending))

    return waiting
