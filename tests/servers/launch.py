"""Become a server that does not outlive who started it.

    python launch.py PARENT USER COMMAND...

USER is a number to run as, or "-" to stay. On Linux the kernel is asked to kill the server when PARENT is gone, however
that ended. It is asked here, after the user has changed and before the server begins, because a change of user takes
the wish back.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, user, *command = sys.argv[1:]
    if user != "-":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("whoever wanted this server has gone")
    os.execv(command[0], command)  # noqa: S606  a shell would stand between the server and its signals
