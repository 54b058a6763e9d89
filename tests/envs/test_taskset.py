"""Tasks and environments in a folder: read as they were written, and refused by name when a byte was changed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from envs.environment import Environment
from envs.taskset import ENVIRONMENTS, SUMS, TASKS, TasksetUnreadable, environment_line, load_taskset, task_line
from envs.verdict import Outcome
from tests.fixtures import shop_spec, shop_tasks


def write(folder: Path, **files: bytes) -> Path:
    """The folder with these files and their hashes."""
    folder.mkdir(exist_ok=True)
    contents = {f"{name}.jsonl": content for name, content in files.items()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())
    (folder / SUMS).write_text(sums)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shop and its tasks, the first of them for tests."""
    with Environment.load(shop_spec()) as shop:
        tasks = shop_tasks(shop)
        lines = [task_line(task, "test" if number == 0 else "train") for number, task in enumerate(tasks)]
        return write(tmp_path / "shop", environments=environment_line(shop.spec), tasks=b"".join(lines))


def test_what_was_written_is_read_and_can_be_judged(folder: Path) -> None:
    with load_taskset(folder) as taskset, Environment.load(shop_spec()) as shop:
        assert list(taskset.environments) == [shop.id]
        assert taskset.tasks == tuple(shop_tasks(shop))
        assert taskset.split("test") == taskset.tasks[:1] and taskset.split("train") == taskset.tasks[1:]
        for task in taskset.tasks:
            environment = taskset.environment_of(task)
            assert environment.judge(task, task.golden, task.golden_answer).outcome is Outcome.SOLVED
        with pytest.raises(KeyError, match="split held_out; there are test, train"):
            taskset.split("held_out")
    with pytest.raises(ValueError, match="is closed"), environment.episode():
        pass


@pytest.mark.parametrize("name", [ENVIRONMENTS, TASKS])
def test_any_changed_byte_is_refused_by_the_name_of_its_file(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    step = max(1, len(whole) // 200)
    for position in range(0, len(whole), step):
        changed = bytes([whole[position] ^ 1])
        (folder / name).write_bytes(whole[:position] + changed + whole[position + 1 :])
        with pytest.raises(TasksetUnreadable, match=rf"{name}.*Export it again"):
            load_taskset(folder)


def rewritten(folder: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Change a file and its hash, as whoever wants to hide a change would."""
    contents = {file.stem: file.read_bytes() for file in folder.glob("*.jsonl")}
    write(folder, **contents | {name: change(contents[name])})


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        (
            "tasks",
            lambda content: content.replace(b'"instruction":"', b'"instruction":"Please: ', 1),
            r"tasks\.jsonl, line 1: the task's id is \w{32}",
        ),
        (
            "environments",
            lambda content: content.replace(b'"seed":', b'"seed":1', 1),
            r"environments\.jsonl, line 1: the environment's id is \w{32}",
        ),
        ("tasks", lambda content: content + b"[]\n", r"tasks\.jsonl, line \d+: no JSON object with `id` and `task`"),
        (
            "tasks",
            lambda content: content.replace(b'"golden":', b'"gold":', 1),
            r"line 1: task\.golden: Field required",
        ),
        ("environments", lambda _: b"", r"tasks\.jsonl, line 1: environment \w{32} is not in environments\.jsonl"),
    ],
)
def test_a_record_that_is_not_what_its_id_says_is_refused_by_its_line(
    folder: Path, name: str, change: Callable[[bytes], bytes], fault: str
) -> None:
    rewritten(folder, name, change)
    with pytest.raises(TasksetUnreadable, match=fault):
        load_taskset(folder)


@pytest.mark.parametrize("name", [ENVIRONMENTS, TASKS, SUMS])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(TasksetUnreadable, match=f"{name}: there is no such file"):
        load_taskset(folder)
