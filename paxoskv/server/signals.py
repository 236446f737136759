"""Which signals end a node; by itself, since it is needed before the rest is loaded."""

import signal


def ending_signals() -> list[signal.Signals]:
    """What ends a node in order: SIGTERM, SIGINT, and SIGHUP, by which a terminal closes, unless nohup said no."""
    ending = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        ending.append(signal.SIGHUP)
    return ending
