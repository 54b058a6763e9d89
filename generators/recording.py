"""Recording a domain: its synthesis by a model, kept in the domain's folder for machines without one."""

from collections.abc import Callable
from datetime import date
from typing import Any

from envs.environment import Environment
from generators.brief import load_brief
from generators.candidates import propose_candidates
from generators.discovery import RECORDING, domain_folder
from generators.domain import synthesise
from generators.hooked import load_hooks
from serving.ledger import Ledger


def record_domain(name: str, open_ledger: Callable[[], Ledger], engine: str) -> dict[str, Any]:
    """Synthesise and write every call into the domain's folder. What the ledger holds is not asked again.

    `engine` stands in the recording's header. Raises DomainError and what `open_ledger` raises; AnswersPending in batch
    mode, until every answer has been imported.
    """
    folder = domain_folder(name)
    ledger = open_ledger()
    brief, hooks = load_brief(folder), load_hooks(name)
    made = synthesise(brief, name, ledger, hooks)
    wording = propose_candidates(brief, Environment.load(made.spec), ledger, hooks).wording
    header = {
        "model": ledger.model,
        "engine": engine,
        "recorded": date.today().isoformat(),
        "prompts": {call.request.template: call.request.template_sha256 for call in ledger.calls(ledger.used)},
    }
    ledger.export_extract(folder / RECORDING, ledger.used, header)
    return {
        "recording": str(folder / RECORDING),
        "calls": len(ledger.used),
        "tools": len(made.spec.tools),
        "phrased": sum(phrasing.call_id is not None for phrasing in wording.phrasings.values()),
    }
