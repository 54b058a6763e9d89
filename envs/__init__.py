"""Environments: what they are, how an episode runs, how a verdict is reached, how a task is proven."""

from typing import TYPE_CHECKING

from envs.front_door import open_door

__all__ = [
    "Environment",
    "EnvironmentSpec",
    "Proof",
    "SpecError",
    "Task",
    "Taskset",
    "ToolCall",
    "Verdict",
    "load_taskset",
    "prove",
]

if TYPE_CHECKING:
    from envs.environment import Environment
    from envs.errors import SpecError
    from envs.proof import Proof, prove
    from envs.spec import EnvironmentSpec
    from envs.task import Task, ToolCall
    from envs.taskset import Taskset, load_taskset
    from envs.verdict import Verdict
else:
    __getattr__, __dir__ = open_door(
        __name__,
        {
            "Environment": "envs.environment",
            "EnvironmentSpec": "envs.spec",
            "Proof": "envs.proof",
            "SpecError": "envs.errors",
            "Task": "envs.task",
            "Taskset": "envs.taskset",
            "ToolCall": "envs.task",
            "Verdict": "envs.verdict",
            "load_taskset": "envs.taskset",
            "prove": "envs.proof",
        },
    )
