"""What the kernel lets a worker do, shown with a real worker and with programs of this machine in its place."""

import subprocess
import sys
from pathlib import Path

import pytest

from envs import confinement, workers
from tests.envs.programs import needs_workers


@needs_workers
def test_a_worker_is_confined_by_the_kernel() -> None:
    with workers.session() as session:
        session.feed_run("1")
        status = Path(f"/proc/{session.worker_pid}/status").read_text()
        environment = Path(f"/proc/{session.worker_pid}/environ").read_bytes()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert environment == b""


def confined(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine the way a worker is run."""
    program = Path(command[0]).resolve()
    script = str(Path(confinement.__file__))
    libraries = ":".join(workers._libraries(program))
    words = [sys.executable, "-I", "-S", script, str(program), libraries, *command[1:]]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, env={})


@needs_workers
@pytest.mark.parametrize(
    "command",
    [
        ("/bin/cat", "/etc/passwd"),
        ("/bin/cat", "/proc/self/environ"),
        ("/bin/ls", "/"),
        ("/bin/touch", "/tmp/escaped"),
        ("/bin/sh", "-c", "exec /bin/true"),
        ("/bin/sh", "-c", "(true) && echo forked"),
        ("/bin/sh", "-c", "kill -0 $PPID && echo signalled"),
        ("/bin/bash", "-c", "exec 3<>/dev/udp/127.0.0.1/9 && echo connected"),
        ("/bin/sh", "-c", "echo x > /dev/null && echo opened"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_a_confined_program_cannot_do_what_an_interpreter_taken_over_would_try(command: tuple[str, ...]) -> None:
    ran = confined(*command)
    assert ran.returncode != 0 and ran.stdout == ""
    assert not Path("/tmp/escaped").exists()


@needs_workers
def test_a_confined_program_can_compute() -> None:
    assert confined("/bin/sh", "-c", "echo $((6 * 7))").stdout == "42\n"
