"""Processes below a server: found and signalled by pid."""

from contextlib import suppress
from signal import Signals

import psutil


def tree(pid: int) -> list[psutil.Process]:
    """The process, first, and all below it; none where it has exited."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def signal_tree(pid: int, number: Signals) -> list[int]:
    """Signal the server before its children, so that it can't replace one. Those signalled."""
    signalled = []
    for process in tree(pid):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            signalled.append(process.pid)
    return signalled


def api_workers(pid: int) -> list[psutil.Process]:
    """The worker processes of the `finpay serve` at `pid`, without multiprocessing's tracker."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with suppress(psutil.NoSuchProcess):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
    return found
