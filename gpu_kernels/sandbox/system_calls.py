"""A seccomp filter: the kernel does for a process what decoding and encoding need, and refuses everything else.

There are no sockets, no other programs or processes, no signals but to itself; files can be opened for reading only. It
is a list of what may be done, so that whatever later kernels bring is refused as well.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Sequence
from functools import cache

_PLAIN = """
read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70 close:3:57
lseek:8:62 fstat:5:80 stat:4:- lstat:6:- newfstatat:262:79 statx:332:291 statfs:137:43 fstatfs:138:44 access:21:-
faccessat:269:48 faccessat2:439:439 readlink:89:- readlinkat:267:78 getdents64:217:61 getcwd:79:17 dup:32:23 dup2:33:-
dup3:292:24 pipe:22:- pipe2:293:59 eventfd2:290:19 umask:95:166 fadvise64:221:223 readahead:187:213 poll:7:-
ppoll:271:73 select:23:- pselect6:270:72 epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:- epoll_pwait:281:22
mmap:9:222 munmap:11:215 mremap:25:216 mprotect:10:226 madvise:28:233 msync:26:227 mincore:27:232 brk:12:214
mlock:149:228 munlock:150:229 membarrier:324:283 get_mempolicy:239:236 futex:202:98 set_robust_list:273:99
get_robust_list:274:100 rseq:334:293 set_tid_address:218:96 sched_yield:24:124 sched_getaffinity:204:123
sched_getparam:143:121 sched_getscheduler:145:120 sched_get_priority_max:146:125 sched_get_priority_min:147:126
getpriority:140:141 getcpu:309:168 restart_syscall:219:128 exit:60:93 exit_group:231:94 rt_sigaction:13:134
rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigsuspend:130:133 rt_sigtimedwait:128:137
sigaltstack:131:132 clock_gettime:228:113 clock_getres:229:114 clock_nanosleep:230:115 nanosleep:35:101
gettimeofday:96:169 time:201:- times:100:153 getrusage:98:165 getrlimit:97:163 sysinfo:99:179 uname:63:160
getrandom:318:278 getpid:39:172 getppid:110:173 gettid:186:178 getpgid:121:155 getpgrp:111:- getsid:124:156
getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177 getgroups:115:158 getresuid:118:148 getresgid:120:150
capget:125:90 arch_prctl:158:-
"""
"""What is allowed with any arguments: names, and their numbers on x86-64 and AArch64."""

_WITH_CONDITIONS = """
open:2:- openat:257:56 ioctl:16:29 fcntl:72:25 clone:56:220 kill:62:129 tgkill:234:131 prctl:157:167 prlimit64:302:261
"""

_ARCHITECTURES = {"x86_64": (1, 0xC000003E, 317), "aarch64": (2, 0xC00000B7, 277)}
"""The place of their numbers above, what the kernel calls them, and the number of `seccomp` itself."""

_NEWER = 424
"""From this number on, what is refused is said to be missing: libraries then fall back on what is older."""

_CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_THREAD = 0x10000
_TERMINAL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX and FIOCLEX; others can type in the user's stead."""
_DESCRIPTOR = (0, 1, 2, 3, 4, 1030, 1032)
"""Duplicates, flags and the size of pipes; others lock the files of others, or have signals sent to them."""
_PROCESS = (3, 15, 16, 23, 39, 0x53564D41)
"""PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS and PR_SET_VMA."""

_PR_SET_SECCOMP = 22
_SET_MODE_FILTER, _FILTER_MODE = 1, 2
_SPECULATE = 1 << 2
"""Kernels before 5.16 slow a filtered process down otherwise, for fear of programs that it runs for others."""

_LIBC = ctypes.CDLL(None, use_errno=True)

_Instruction = tuple[int, int, int, int]
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # where they are in what a filter is given
_ALLOW: _Instruction = (_RETURN, 0, 0, 0x7FFF0000)


def _refuse(why: int) -> _Instruction:
    return (_RETURN, 0, 0, 0x00050000 | why)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def leave_decoding() -> None:
    """Leave this thread, and all that it starts, what decoding and encoding need.

    Raises:
        OSError: there are no filters in this kernel or for this architecture, a container forbids them, or new
            privileges were not given up before.
    """
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {platform.machine()}")
    instructions = _filter(platform.machine(), os.getpid())
    program = _Program(len(instructions) // 8, instructions)
    number = _ARCHITECTURES[platform.machine()][2]
    if _LIBC.syscall(number, _SET_MODE_FILTER, _SPECULATE, ctypes.byref(program)) == 0:
        return
    if _LIBC.prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


def _filter(machine: str, pid: int) -> bytes:
    numbers = _numbers(_WITH_CONDITIONS, machine)
    conditions = {
        "open": _without(1, _CHANGING),
        "openat": _without(2, _CHANGING),
        "ioctl": _one_of(1, _TERMINAL),
        "fcntl": _one_of(1, _DESCRIPTOR),
        "clone": _with(0, _THREAD),
        "kill": _one_of(0, [pid]),
        "tgkill": _one_of(0, [pid]),
        "prctl": _one_of(0, _PROCESS),
        "prlimit64": _null(2),
    }
    own = [
        instruction
        for name, number in numbers.items()
        for instruction in [(_EQUAL, 0, len(conditions[name]), number), *conditions[name]]
    ]
    return _plain(machine) + _packed(own) + _packed([(_AT_LEAST, 0, 1, _NEWER), _refuse(errno.ENOSYS), _NOT_PERMITTED])


@cache
def _plain(machine: str) -> bytes:
    """The part that is the same for every process; it leaves the number of the system call loaded."""
    known = _ARCHITECTURES[machine][1]
    head = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, known), _NOT_PERMITTED, (_LOAD, 0, 0, _NUMBER)]
    allowed = [each for number in _numbers(_PLAIN, machine).values() for each in [(_EQUAL, 0, 1, number), _ALLOW]]
    return _packed([*head, *allowed])


def _numbers(table: str, machine: str) -> dict[str, int]:
    place = _ARCHITECTURES[machine][0]
    rows = [entry.split(":") for entry in table.split()]
    return {row[0]: int(row[place]) for row in rows if row[place] != "-"}


_NOT_PERMITTED = _refuse(errno.EPERM)


# Conditions: allow or refuse, by the lower half of an argument, which is all that the kernel reads of a whole number.


def _argument(index: int, half: int = 0) -> _Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * half)


def _without(index: int, bits: int) -> list[_Instruction]:
    return [_argument(index), (_ANY_BIT, 1, 0, bits), _ALLOW, _NOT_PERMITTED]


def _with(index: int, bit: int) -> list[_Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, bit), _ALLOW, _NOT_PERMITTED]


def _one_of(index: int, values: Sequence[int]) -> list[_Instruction]:
    tests = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_argument(index), *tests, _NOT_PERMITTED, _ALLOW]


def _null(index: int) -> list[_Instruction]:
    lower, upper = _argument(index), _argument(index, half=1)
    return [lower, (_EQUAL, 0, 3, 0), upper, (_EQUAL, 0, 1, 0), _ALLOW, _NOT_PERMITTED]


def _packed(instructions: Iterable[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
