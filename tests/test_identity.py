"""The rule of identity, on every record of the product: a field at its default is no part of it."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel

from envs.record import Record, record_defaults
from tests.product_records import record_types, records

ABSENT = object()


def test_every_record_reads_back_from_what_differs_from_its_defaults() -> None:
    for kind in record_types().values():
        check_identity(kind)


def check_identity(kind: type[Record]) -> None:
    @settings(max_examples=20, suppress_health_check=list(HealthCheck))
    @given(records(kind), records(kind))
    def holds(record: Record, other: Record) -> None:
        assert kind.model_validate_json(record.canonical()) == record
        assert kind.model_validate(record.model_dump()).id == record.id, "a default that is set by hand counts"
        assert (record.canonical() == other.canonical()) == (record == other), "one id for one content"
        defaults = record_defaults(kind)
        assert not [name for name, value in record.canonical_fields().items() if value == defaults.get(name, ABSENT)]

    holds()


def test_a_record_holds_no_model_that_is_no_record() -> None:
    """The defaults of such a model would be part of the identity."""
    for kind in record_types().values():
        models = {model for field in kind.model_fields.values() for model in models_in(field.annotation)}
        assert not [model for model in models if not issubclass(model, Record)], kind


def models_in(annotation: Any) -> list[type[BaseModel]]:
    inner = [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]
    return [annotation, *inner] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else inner
