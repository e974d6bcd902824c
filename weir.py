"""`weir ROOM ...`: every room's command under one name; `weir sim sweep FILE` is `python -m sim sweep FILE`.

Only the room that is asked for is imported.
"""

from __future__ import annotations

import difflib
import sys
from importlib import import_module

EXIT_USAGE = 2
#: What each room's command is for.
ROOMS = {
    "scenarios": "check, show and convert scenario files; every setting and its default",
    "models": "the model zoo: list, export, train",
    "sim": "predict: run, sweep, capacity, demand, explain, plan, explore",
    "real": "measure: run scenarios for real, profile this machine, serve models",
    "calibration": "fit costs from measured runs, check predictions against runs",
    "analysis": "reports, tables, and the difference between runs",
}
_USAGE = """Usage: weir COMMAND [OPTIONS] [ARGS]...

What a streaming inference pipeline will do at that rate on that many workers.

{commands}

`weir COMMAND --help` says more of each."""


def main() -> None:
    """The console command."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, ROOMS))
        print(_USAGE.format(commands="\n".join(f"  {name:<{width}}  {what}" for name, what in ROOMS.items())))
        raise SystemExit(0 if arguments else EXIT_USAGE)
    room = arguments[0]
    if room not in ROOMS:
        near = difflib.get_close_matches(room, ROOMS, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else "."
        print(f"weir: no command '{room}'{meant} There are: {', '.join(ROOMS)}.", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)
    import_module(f"{room}.__main__").app(arguments[1:], prog_name=f"weir {room}")


if __name__ == "__main__":
    main()
