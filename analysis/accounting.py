"""Where every record of a run went.

`sent` counts the records with a `sent` stamp, each outcome the records that carry its word: every term is counted
where it happens, none is the remainder of the others.  So `sent = scored + ... + lost` can fail, and a run where it
does is INVALID.  Surplus outputs (`duplicates`) stand apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.columns import DUPLICATES_COLUMN, OUTCOME_COLUMN, OUTCOMES
from analysis.records import Columns, outcome_codes


def accounting(records: Columns) -> dict[str, int]:
    """Counts over every record of the run, backlog and warm-up included.

    Args:
        records: Columns of records.parquet.

    Returns:
        `sent`, each of `columns.OUTCOMES`, and `duplicates`.

    Raises:
        ValueError: An outcome that there is not.
    """
    codes = outcome_codes(records[OUTCOME_COLUMN])
    result = {"sent": int(np.count_nonzero(np.asarray(records["sent"]) >= 0))}
    result |= {word: int(np.count_nonzero(codes == code)) for code, word in enumerate(OUTCOMES)}
    result["duplicates"] = int(np.asarray(records[DUPLICATES_COLUMN]).sum())
    return result


def violation(counts: dict[str, int]) -> str | None:
    """Why the equation does not hold, or None where it does."""
    total = sum(counts[word] for word in OUTCOMES)
    if counts["sent"] == total:
        return None
    terms = " + ".join(f"{counts[w]} {w}" for w in OUTCOMES if counts[w]) or "0"
    return f"accounting: {counts['sent']} sent, but {total} have an outcome ({terms})"


def misplaced(records: Columns) -> str | None:
    """Why the records contradict their outcomes one by one (two errors may cancel in the sum), or None.

    A record has an outcome if and only if it was sent, and a `scored` one has an output.
    """
    codes: Any = outcome_codes(records[OUTCOME_COLUMN])
    sent, out = np.asarray(records["sent"]) >= 0, np.asarray(records["out_appended"]) >= 0
    for wrong, what in (
        (sent & (codes < 0), "was sent and has no outcome"),
        (~sent & (codes >= 0), "has an outcome and was never sent"),
        ((codes == OUTCOMES.index("scored")) & ~out, "is scored and has no output"),
    ):
        count = int(np.count_nonzero(wrong))
        if count:
            first = int(np.asarray(records["sequence"])[int(np.argmax(wrong))])
            return f"accounting: record {first} {what}" + (f", and {count - 1} more" if count > 1 else "")
    return None
