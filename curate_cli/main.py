"""The `curate` command: add videos, materialize assets, look at what came out.

Its commands are imported when signals are seen to, so that Ctrl-C is a cancellation from the first moment.
"""

import atexit
import os
import sys


def main() -> None:
    """The command's entry point."""
    try:
        answered = _run()
    except KeyboardInterrupt:
        answered = False
    from curate_resources.engines import interruption

    if "--json" in sys.argv and not answered:
        from curate_cli.command import tell_error

        tell_error("Canceled", interruption.meaning(), as_json=True)
    else:
        print(interruption.meaning(), file=sys.stderr)
    # Python ends itself by SIGINT when one interrupted an `exec` anywhere, whoever caught it, so this is done by hand.
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(130)


def _run() -> bool:
    """Do what the command line says. Returns only if it is canceled: whether the command came to its end even so.

    Raises:
        SystemExit: with the exit code of a command that was not canceled.
    """
    from curate_resources.engines import interruption

    interruption.watch()
    try:
        from curate_cli.app import run

        run()
    except KeyboardInterrupt:
        return False
    except SystemExit as end:
        if end.code != 130 and not interruption.asked():
            raise
        return end.code != 130
    finally:
        interruption.notice()
    return False


if __name__ == "__main__":
    main()
