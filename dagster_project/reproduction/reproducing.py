"""The whole of a reproduction: find the checkpoint, verify what is stored, make it again, say what caused what."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from dagster_project.home import REPOSITORY, Home
from dagster_project.reproduction.bundles import open_bundle
from dagster_project.reproduction.causes import Causes, explained
from dagster_project.reproduction.containment import BundleBroken
from dagster_project.reproduction.naming import require_names
from dagster_project.reproduction.outcome import Finding, Status
from dagster_project.reproduction.plan import Mode, Plan
from dagster_project.reproduction.scratch import Inputs, environment_of, give_inputs, make_scratch
from dagster_project.reproduction.trust import Permission, environment_for, require_permission
from dagster_project.reproduction.verifying import verify
from dagster_project.runtime import source_version
from warehouse.errors import UnknownBatch
from warehouse.queries.checkpoint_history import Target, find_target
from warehouse.warehouse import Batch, Warehouse


class RemakingDied(RuntimeError):
    """The process that makes assets again ended before its time: the end of what it said."""


@dataclass(frozen=True)
class Request:
    """What is to be reproduced, and how."""

    name: str
    """A checkpoint's id or the start of one, an iteration of a campaign, or a bundle's file."""
    mode: Mode = "replay"
    inputs: Inputs = "recorded"
    assets: frozenset[str] = frozenset()
    """The assets to be looked at; all of them if empty. Others are taken over as stored."""
    scratch: Path | None = None
    """Where the scratch project is made and stays; None: in a temporary folder."""
    permission: Permission = field(default_factory=Permission)
    """What a bundle may do here beyond being looked at. A project's own history may do all it did."""
    most_bytes: int | None = None
    """What a bundle may unpack to; None: as `unpacking.default_most_bytes`."""

    @property
    def is_bundle(self) -> bool:
        """Whether it is a file and no name."""
        return Path(self.name).is_file()


def reproduce(
    request: Request,
    home: Home,
    hear: Callable[[Finding], None] = lambda _: None,
    announce: Callable[[Sequence[str]], None] = lambda _: None,
) -> list[Finding]:
    """One finding per batch that the checkpoint stands on, in order; `hear` is told of each as soon as it is there.

    `announce` is told what of a bundle will run, before it does. Raises NotFound, BundleBroken, NotHere, NotTrusted.
    """
    findings = []
    with ExitStack() as open_:

        def folder(name: str) -> Path:
            if request.scratch is None:
                return Path(open_.enter_context(TemporaryDirectory(prefix=f"envloom-{name}-")))
            (request.scratch / name).mkdir(parents=True)
            return request.scratch / name

        recorded, wanted = home, request.name
        if request.is_bundle:
            recorded, wanted = open_bundle(Path(request.name), folder("bundle"), request.most_bytes)
            if home.models.is_dir():
                recorded.models.symlink_to(home.models.resolve())
        target = _target(recorded, wanted)
        if request.is_bundle and request.mode != "verify":
            about = recorded, target, _asked(request, target), request.mode, request.inputs
            announce(require_permission(*about, request.permission))
        causes = Causes(recorded, home, source_version())
        batches = {batch.batch_id: batch for batch in target.batches}
        for finding, mode in _findings(request, home, recorded, target, folder):
            told = explained(finding, batches[finding.batch_id], causes, mode)
            findings.append(told)
            hear(told)
    return findings


def _target(recorded: Home, wanted: str) -> Target:
    """The checkpoint, with a campaign's base policy under it. Raises NotFound, BundleBroken."""
    try:
        target = find_target(Warehouse(recorded.warehouse, recorded.parts), wanted)
    except (ValueError, UnknownBatch) as error:
        raise BundleBroken(f"checkpoint {wanted}: its batches do not belong together ({error})") from error
    return target


def _asked(request: Request, target: Target) -> list[Batch]:
    return [batch for batch in target.batches if not request.assets or batch.asset in request.assets]


def _findings(
    request: Request, home: Home, recorded: Home, target: Target, folder: Callable[[str], Path]
) -> Iterator[tuple[Finding, Mode]]:
    """Each finding, and by what. What is stored is looked at first: what was altered is not made again, but named."""
    warehouse = Warehouse(recorded.warehouse, recorded.parts)
    verified = {batch.batch_id: verify(recorded, warehouse, batch) for batch in _asked(request, target)}
    if request.mode == "verify":
        yield from ((finding, request.mode) for finding in verified.values())
        return
    sound = [identity for identity, finding in verified.items() if finding.status is Status.IDENTICAL]
    for batch in target.batches:
        require_names(batch)
    scratch = make_scratch(folder("scratch"), recorded, home.models)
    give_inputs(scratch, target.batches, request.inputs)
    ids = tuple(batch.batch_id for batch in target.batches)
    plan = Plan(scratch, request.mode, request.inputs, home.root, ids, frozenset(sound))
    path = scratch.home.root / "plan.json"
    plan.write(path)
    is_foreign = request.is_bundle and request.inputs == "recorded"
    variables = environment_for(os.environ, request.permission) if is_foreign else os.environ
    for finding in _remade(path, environment_of(scratch, variables)):
        stored = verified.get(finding.batch_id)
        altered = stored is not None and stored.status is not Status.IDENTICAL
        yield (stored, "verify") if stored is not None and altered else (finding, request.mode)


def _remade(plan: Path, environment: dict[str, str]) -> Iterator[Finding]:
    """What the process finds that makes the assets again (`remaking`), as it finds it."""
    log = plan.with_name("remaking.log")
    command = [sys.executable, "-m", "dagster_project.reproduction.remaking", str(plan)]
    with (
        log.open("w") as opened,
        subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=opened, text=True
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                yield Finding.read(json.loads(line))
        except BaseException:  # also Ctrl-C, and nobody who listens any more
            child.terminate()
            raise
    if child.returncode:
        raise RemakingDied(f"making assets again ended with status {child.returncode}:\n{log.read_text()[-2000:]}")
