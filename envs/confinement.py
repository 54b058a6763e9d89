"""Starts one program that can do nothing but compute and talk over the pipes it was given.

Run as a script, never imported by the engine: `python -I -S confinement.py PROGRAM READABLE:… [ARGUMENT …]`. It
confines itself with Landlock (no file but PROGRAM and its libraries) and seccomp (a list of allowed system calls: no
sockets, no processes, no signals, no tracing), proves to itself that both hold, and then becomes PROGRAM.
Whatever is missing ends it with one line on standard error: nothing is ever started half confined.
Only the standard library is used, because the worker's environment is not importable here.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

# Numbers of x86-64 Linux (`asm/unistd_64.h`); another architecture is refused by name.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF, SECCOMP = 444, 445, 446, 317
EXECVE, CLONE, CLONE3, OPENAT, PRCTL, PRLIMIT, TGKILL = 59, 56, 435, 257, 157, 302, 234
PLAIN = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "poll": 7, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11,
    "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20,
    "access": 21, "sched_yield": 24, "mremap": 25, "madvise": 28, "dup2": 33, "nanosleep": 35, "getpid": 39,
    "exit": 60, "sigaltstack": 131, "arch_prctl": 158, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
    "set_tid_address": 218, "restart_syscall": 219, "clock_gettime": 228, "clock_nanosleep": 230, "exit_group": 231,
    "openat": OPENAT, "newfstatat": 262, "ppoll": 271, "set_robust_list": 273, "getrandom": 318, "membarrier": 324,
    "statx": 332, "rseq": 334,
}  # fmt: skip
"""System calls that need no look at their arguments. Files are openat's business and Landlock's to refuse."""

_ARCH_X86_64 = 0xC000003E
_ALLOW, _NOTIFY, _ERRNO, _KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000
_NEW_LISTENER = 1 << 3
_NOTIFICATION_RECEIVE, _NOTIFICATION_SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NO_NEW_PRIVILEGES, _SECCOMP_MODE_FILTER, _SET_NAME = 38, 1, 15
_CLONE_THREAD = 0x00010000
_READ_FILE, _EXECUTE = 1 << 2, 1 << 0
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Per Landlock ABI how many kinds of file access it governs; later ones have as many as the last."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def main(program: str, readable: str, *arguments: str) -> None:
    """Confine this process and become `program`. Raises OSError or RuntimeError if any part of it cannot be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise RuntimeError(f"{sys.platform} on {platform.machine()} is not supported; it takes Linux on x86_64")
    os.closerange(3, 256)
    silence = os.open(os.devnull, os.O_WRONLY)
    _limit_resources()
    listeners: SimpleQueue[int] = SimpleQueue()
    # Landlock and seccomp bind the thread that asks for them: this one stays free to answer for the other.
    threading.Thread(target=_let_one_pass, args=(listeners,), daemon=True).start()
    _check("no_new_privs", _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    restrict_files([program, *(path for path in readable.split(":") if path)], executable=2)
    if not _refuses(lambda: os.open(os.devnull, os.O_WRONLY)) or not _refuses(lambda: os.open(__file__, os.O_RDONLY)):
        raise RuntimeError("Landlock was asked to refuse files and does not")
    listener = restrict_calls(os.getpid())
    if not _refuses(lambda: socket.socket().close()) or not _refuses(lambda: os.kill(os.getpid(), 0)):
        raise RuntimeError("seccomp was asked to refuse sockets and signals and does not")
    # What a worker has to say goes over its pipes; its last words when memory ends are not for our own log.
    os.dup2(silence, 2)
    listeners.put(listener)
    _become(program, arguments)


def restrict_files(paths: list[str], executable: int) -> None:
    """From here only these files can be opened, to be read; the first `executable` of them can be executed."""
    abi = _check("Landlock", _libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1))
    rights = (1 << _FILE_RIGHTS[min(abi, max(_FILE_RIGHTS))]) - 1
    network = 0b11 if abi >= 4 else 0
    scopes = 0b11 if abi >= 6 else 0
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = struct.pack("QQQ", rights, network, scopes)[:size]
    handle = _check("Landlock ruleset", _libc.syscall(LANDLOCK_CREATE_RULESET, ruleset, size, 0))
    for position, path in enumerate(paths):
        file = os.open(path, os.O_PATH)
        allowed = _READ_FILE | (_EXECUTE if position < executable else 0)
        rule = struct.pack("=Qi", allowed, file)
        _check(f"Landlock rule for {path}", _libc.syscall(LANDLOCK_ADD_RULE, handle, 1, rule, 0))
        os.close(file)
    _check("Landlock restriction", _libc.syscall(LANDLOCK_RESTRICT_SELF, handle, 0))
    os.close(handle)


def restrict_calls(own_pid: int) -> int:
    """From here this thread has the calls of the filter; the answer is the descriptor that is asked about execve."""
    code = b"".join(filter_program(own_pid))
    buffer = ctypes.create_string_buffer(code)
    count = len(code) // 8
    header = struct.pack("HxxxxxxP", count, ctypes.addressof(buffer))
    return _check("seccomp", _libc.syscall(SECCOMP, _SECCOMP_MODE_FILTER, _NEW_LISTENER, header))


def filter_program(own_pid: int) -> list[bytes]:
    """The filter in classic BPF: an unlisted call fails with EPERM, a call of another architecture kills.

    Calls whose arguments matter: a clone must make a thread (clone3 hides its flags from filters, so it is declared
    missing and the C library falls back), prctl may only name a thread, prlimit only ask, tgkill only hit its own.
    """
    number, low = 0, lambda argument: 16 + 8 * argument
    code = [
        _load(4),
        _skip_if_equal(_ARCH_X86_64, 1, 0),
        _return(_KILL),
        _load(number),
        _skip_if_equal(EXECVE, 0, 1),
        _return(_NOTIFY),
        _skip_if_equal(CLONE3, 0, 1),
        _return(_ERRNO | errno.ENOSYS),
    ]
    for call in PLAIN.values():
        code += [_skip_if_equal(call, 0, 1), _return(_ALLOW)]
    code += _call_with(CLONE, _load(low(0)), _skip_if_set(_CLONE_THREAD, 0, 1))
    code += _call_with(PRCTL, _load(low(0)), _skip_if_equal(_SET_NAME, 0, 1))
    code += _call_with(TGKILL, _load(low(0)), _skip_if_equal(own_pid, 0, 1))
    code += [_skip_if_equal(PRLIMIT, 0, 5), _load(low(2)), _skip_if_equal(0, 0, 3), _load(low(2) + 4)]
    code += [_skip_if_equal(0, 0, 1), _return(_ALLOW)]
    return [*code, _return(_ERRNO | errno.EPERM)]


def _call_with(call: int, load: bytes, test: bytes) -> list[bytes]:
    """Allow a call whose argument passes the test; else EPERM at once, since the number is no longer loaded."""
    return [_skip_if_equal(call, 0, 4), load, test, _return(_ALLOW), _return(_ERRNO | errno.EPERM)]


def _load(offset: int) -> bytes:
    return struct.pack("HBBI", 0x20, 0, 0, offset)


def _skip_if_equal(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("HBBI", 0x15, then, otherwise, value)


def _skip_if_set(bits: int, then: int, otherwise: int) -> bytes:
    return struct.pack("HBBI", 0x45, then, otherwise, bits)


def _return(action: int) -> bytes:
    return struct.pack("HBBI", 0x06, 0, 0, action)


def _let_one_pass(listeners: SimpleQueue[int]) -> None:
    """Answer one execve. That ends this thread and closes the listener, so a later execve fails with ENOSYS."""
    listener = listeners.get()
    asked = ctypes.create_string_buffer(80)
    _libc.ioctl(listener, ctypes.c_ulong(_NOTIFICATION_RECEIVE), asked)
    answer = struct.pack("QqiI", struct.unpack_from("Q", asked)[0], 0, 0, _CONTINUE)
    _libc.ioctl(listener, ctypes.c_ulong(_NOTIFICATION_SEND), answer)


def _become(program: str, arguments: tuple[str, ...]) -> None:
    """execve by way of ctypes, which lets the answering thread run meanwhile; os.execve would hold it up."""
    words = [program.encode(), *(argument.encode() for argument in arguments)]
    vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    _check(f"starting {program}", _libc.execve(words[0], vector, (ctypes.c_char_p * 1)(None)))


def _limit_resources() -> None:
    """A second line behind the interpreter's own limits: address space, no core files, few descriptors."""
    for kind, most in (
        (resource.RLIMIT_AS, 2 << 30),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _refuses(attempt: Callable[[], object]) -> bool:
    """Whether the kernel refuses this with a permission error."""
    try:
        attempt()
    except PermissionError:
        return True
    return False


def _check(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what} is refused by this kernel ({os.strerror(number)})")
    return result


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (OSError, RuntimeError) as problem:
        sys.exit(str(problem))
