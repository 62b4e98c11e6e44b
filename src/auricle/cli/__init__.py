"""The command line: a file for commands of one kind, no logic."""

import signal


def run() -> None:
    """Run `auricle`; while it is loaded, Ctrl-C ends it without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # not ignored, as in a background job
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from auricle.cli.main import main

    signal.signal(signal.SIGINT, handler)
    main()
