"""Which member of a group reads which partitions: both backends and their clients must agree."""

from __future__ import annotations


def range_assignment(partitions: int, members: int) -> list[tuple[int, int]]:
    """(first partition, count) of each member, as Kafka's range assignor gives them."""
    each, rest = divmod(partitions, members)
    out, first = [], 0
    for m in range(members):
        n = each + (1 if m < rest else 0)
        out.append((first, n))
        first += n
    return out
