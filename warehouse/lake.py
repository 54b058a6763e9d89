"""The lake: the warehouse's tables on DuckLake, so that several machines write and every past state stays readable.

What a lake is, how it is written in a setting, and its snapshots live here; how it is opened, in `lake_connection`.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from serving.credentials import public_address
from warehouse.errors import LakeMisconfigured

_PREFIX = "ducklake:postgres:"
_SHAPE = (
    f"Write {_PREFIX}host=… dbname=… user=…;data_path=/absolute/folder or s3://bucket/folder"
    ";password_variable=NAME_OF_AN_ENVIRONMENT_VARIABLE."
)


class Lake(BaseModel):
    """Where a lake's catalogue and data are. Secrets are not part of it, only the names of variables that hold them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    catalogue: str
    """The Postgres database, in libpq's words: `host=… port=… dbname=… user=…`."""
    data_path: str
    """Where the Parquet files lie: an absolute folder that every machine sees, or `s3://bucket/folder`."""
    password_variable: str | None = None
    """The environment variable that holds the password; without it libpq looks where it always does (`~/.pgpass`)."""
    storage_endpoint: str | None = None
    """For an object store other than Amazon's: `http://host:port` or `https://host`."""
    storage_region: str | None = None
    storage_key_variable: str = "AWS_ACCESS_KEY_ID"
    storage_secret_variable: str = "AWS_SECRET_ACCESS_KEY"
    snapshot: int | None = None
    """The state to read; None reads the newest and may be written."""

    @classmethod
    def parse(cls, text: str) -> "Lake":
        """A lake from `ducklake:postgres:<words>;data_path=…;name=value…`. Raises `LakeMisconfigured`."""
        kind, prefix, rest = text.partition(_PREFIX)
        if kind or not prefix:
            raise LakeMisconfigured(f"'{text.partition(':')[0]}…' is not a lake. {_SHAPE}")
        catalogue, *settings = rest.rstrip("; ").split(";")
        named = dict(setting.strip().partition("=")[::2] for setting in settings)
        try:
            return cls.model_validate(named | {"catalogue": catalogue.strip()})
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, at['loc']))}: {at['msg']}" for at in error.errors())
            raise LakeMisconfigured(f"the lake's setting: {wrong}. {_SHAPE}") from None  # its text may hold a secret

    @field_validator("catalogue")
    @classmethod
    def _without_password(cls, value: str) -> str:
        if re.search(r"password|://", value, re.IGNORECASE):
            raise ValueError("holds a password or is a URI; give words without a password, and password_variable")
        return value

    @field_validator("data_path")
    @classmethod
    def _reachable_from_everywhere(cls, value: str) -> str:
        if not value.startswith(("/", "s3://")):
            raise ValueError("is neither an absolute folder nor s3://…")
        if value.startswith("s3://") and public_address(value) != value:
            raise ValueError("holds a credential; put keys into storage_key_variable and storage_secret_variable")
        return value.rstrip("/") + "/"

    @field_validator("storage_endpoint")
    @classmethod
    def _without_credentials(cls, value: str | None) -> str | None:
        if value is not None and public_address(value) != value:
            raise ValueError("holds a credential; put keys into storage_key_variable and storage_secret_variable")
        return value

    @property
    def in_object_store(self) -> bool:
        return self.data_path.startswith("s3://")

    def at(self, snapshot: int) -> "Lake":
        """The lake as it was at a snapshot: the same tables and queries, read-only."""
        return self.model_copy(update={"snapshot": snapshot})

    def setting(self) -> str:
        """What `parse` reads."""
        named = self.model_dump(exclude={"catalogue"}, exclude_none=True, exclude_defaults=True)
        return ";".join([f"{_PREFIX}{self.catalogue}", *(f"{name}={value}" for name, value in named.items())])

    def __str__(self) -> str:
        return f"{_PREFIX}{self.catalogue}" + (f" at snapshot {self.snapshot}" if self.snapshot is not None else "")


@dataclass(frozen=True)
class Snapshot:
    """A state of the lake: each commit makes one."""

    id: int
    created_at: datetime
    """UTC."""
