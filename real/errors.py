"""What can go wrong in the harness, as a tree; each error names what it was about.

- HarnessError: the run could not be made (exit code 1)
    - BrokerError: the broker did not start, or does not answer
    - ChildDiedError: a process of the run ended by itself; carries its last words
    - DeadlineError: the run, or a step of it, took longer than it may
    - BacklogLostError: the mock broker was about to drop records it has acknowledged
- RefusedError: what was asked cannot be run here (exit code 2); names the scenario's key
"""

from __future__ import annotations


class HarnessError(Exception):
    """A run could not be made."""


class BrokerError(HarnessError):
    """The broker did not start, or does not answer."""


class ChildDiedError(HarnessError):
    """A process of the run ended by itself.

    Attributes:
        name: Its role (`worker.0`, `broker`, ...).
        code: Exit status, negative for a signal.
        last_words: The end of its stderr.
    """

    def __init__(self, name: str, code: int, last_words: str) -> None:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        words = f"; its last words:\n{last_words}" if last_words else " and said nothing"
        super().__init__(f"{name} {how}{words}")
        self.name, self.code, self.last_words = name, code, last_words


class DeadlineError(HarnessError):
    """A run, or a step of it, took longer than it may."""


class BacklogLostError(HarnessError):
    """The mock broker was about to drop records it has acknowledged."""


class RefusedError(Exception):
    """What was asked cannot be run here.

    Attributes:
        key: Dotted key of the scenario, or the option at fault; empty where there is none.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}" if key else message)
        self.key = key
