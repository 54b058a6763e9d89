"""Serving: how a language model is reached. vLLM's life cycle, the client, the ledger of calls, packaged weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Client", "Endpoint", "Ledger", "VllmConfig", "VllmServer"]

if TYPE_CHECKING:
    from serving.client import Client
    from serving.endpoint import Endpoint
    from serving.flags import VllmConfig
    from serving.ledger import Ledger
    from serving.vllm import VllmServer
else:
    _HOMES = {
        "Client": "serving.client",
        "Endpoint": "serving.endpoint",
        "Ledger": "serving.ledger",
        "VllmConfig": "serving.flags",
        "VllmServer": "serving.vllm",
    }

    def __getattr__(name: str) -> Any:
        """An offered name, imported now: as `envs.front_door`, which this package may not import."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            globals()[name] = offered = getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("serving."):
                raise
            raise ModuleNotFoundError(
                f"serving.{name} needs `pip install envloom[serving]`: there is no module {error.name}.",
                name=error.name,
            ) from error
        return offered

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
