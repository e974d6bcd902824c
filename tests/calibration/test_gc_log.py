"""A JVM's log of garbage collections, in the forms that Java 17 and 21 write."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibration import gc_log
from calibration.profiles import ProfileError

LOG = """[0.012s][info][gc] Using G1
[1.000s][info][gc] GC(0) Pause Young (Normal) (G1 Evacuation Pause) 24M->4M(256M) 3.500ms
[2.000s][info][gc] GC(1) Pause Young (Normal) (G1 Evacuation Pause) 104M->6M(256M) 4.500ms
[2.500s][info][gc] GC(2) Concurrent Mark Cycle
[4.000s][info][gc] GC(3) Pause Full (System.gc()) 1G->10M(2G) 20.000ms
[4.500s][info][gc] GC(2) Concurrent Mark Cycle 2000.000ms
"""


def test_a_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gc.log"
    path.write_text(LOG)
    pauses = gc_log.read(path)
    assert [p.took_ns for p in pauses] == [3_500_000, 4_500_000, 20_000_000]
    found = gc_log.summary(pauses, str(path))
    assert found["pauses"] == 3
    # 100 MiB between the first two, 1018 between the last.
    assert found["bytes_per_pause"] == (100 + 1018) / 2 * gc_log.MIB
    assert found["allocated_bytes_per_s"] == pytest.approx(1118 * gc_log.MIB / 3.0)
    assert found["pause_ns_max"] == 20e6
    assert found["stalled_share"] == pytest.approx(24.5e6 / 3e9)


@pytest.mark.parametrize(("text", "said"), [("hello\n", "no log of garbage"), (LOG.splitlines()[1] + "\n", "1 pauses")])
def test_what_is_no_log_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gc.log"
    path.write_text(text)
    with pytest.raises(ProfileError, match=said):
        gc_log.summary(gc_log.read(path), str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="cannot be read"):
        gc_log.read(tmp_path / "none.log")
