"""Starts one program that must not outlive its parent: `python -IS launch.py PARENT SIGNAL USER PROGRAM ARGUMENT...`.

Enters: the parent's pid, the signal that the program gets when the parent dies, and the account to run under (`-` keeps
ours). Leaves: the program itself, by exec, under the same pid. Standard library only, and quick: it runs before anything.

PostgreSQL refuses to run as root, and an ordinary account cannot walk into a folder of root's. So root hands over one
capability, CAP_DAC_OVERRIDE, instead of opening its folders to everybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


def _become(user: str, libc: ctypes.CDLL) -> None:
    import pwd

    account = pwd.getpwnam(user)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    bit = 1 << CAP_DAC_OVERRIDE
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    if libc.capset(header, data) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def main(arguments: list[str]) -> None:
    """Tie our life to the parent's, change the account, become the program."""
    parent, death_signal, user, *program = arguments
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if user != "-":
            _become(user, libc)
        # After the change of account: that change clears it.
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("the parent died before this program started")
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(sys.argv[1:])
