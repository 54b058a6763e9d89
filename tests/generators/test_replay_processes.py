"""A recording gives the same environment, candidates and proofs in any process, to the byte, with no engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from generators import brief

REPOSITORY = Path(brief.__file__).parents[1]
REPLAY = """
import sys
from pathlib import Path
from dagster_project.home import Home
from envs.proof.prove_all import prove_all
from dagster_project.synthesist import Synthesist
from envs.environment import Environment
from generators.brief import load_brief
from generators.candidates import propose_candidates
from generators.discovery import domain_folder
from generators.domain import synthesise
from generators.hooked import load_hooks

domain, folder = sys.argv[1], Path(sys.argv[2])
page = load_brief(domain_folder(domain))
ledger = Synthesist().ledger(domain, Home(folder))
hooks = load_hooks(domain)
made = synthesise(page, domain, ledger, hooks)
environment = Environment.load(made.spec)
candidates = propose_candidates(page, environment, ledger, hooks)
found = prove_all(environment, candidates.tasks)
(folder / "environment.json").write_bytes(made.spec.canonical())
(folder / "base_state.txt").write_text(environment.base.sha256)
(folder / "tasks.jsonl").write_bytes(b"\\n".join(task.canonical() for task in candidates.tasks))
(folder / "proofs.jsonl").write_bytes(b"\\n".join(proof.canonical() for proof in found.proofs))
(folder / "audit.json").write_bytes(found.audit.canonical())
rejections = [*made.rejections, *candidates.rejections]
(folder / "rejections.jsonl").write_bytes(b"\\n".join(rejection.canonical() for rejection in rejections))
assert not any(name in sys.modules for name in ("torch", "vllm")), "a replay needs no engine"
"""


@pytest.mark.parametrize("domain", ["library"])
def test_two_processes_with_other_hash_seeds_make_the_same_bytes(domain: str, tmp_path: Path) -> None:
    made = []
    for seed in ("1", "4242"):
        folder = tmp_path / seed
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", REPLAY, domain, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-3000:]
        made.append(
            {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".json", ".jsonl", ".txt")}
        )
    assert len(made[0]) == 6 and all(made[0].values())
    assert made[0] == made[1]
