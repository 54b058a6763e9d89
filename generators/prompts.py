"""Prompt templates: Jinja2 in a sandbox, with a `system` and a `user` block, named by the hash of their text."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from serving.ledger import Message

FOLDER = Path(__file__).parent / "prompts"


@cache
def _templates() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


@cache
def template_sha256(name: str) -> str:
    """The sha256 of the template's text: what lineage calls the prompt version."""
    return hashlib.sha256((FOLDER / f"{name}.j2").read_bytes()).hexdigest()


def render(name: str, **values: Any) -> tuple[Message, ...]:
    """The messages of one prompt. Raises jinja2.UndefinedError if the template uses a value not given."""
    template = _templates().get_template(f"{name}.j2")

    def block(part: str) -> str:
        return "".join(template.blocks[part](template.new_context(values))).strip()

    return Message(role="system", content=block("system")), Message(role="user", content=block("user"))
