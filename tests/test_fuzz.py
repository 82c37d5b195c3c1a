"""A thousand mutated files, over all readers; `python -m tests.fuzz --count 20000` tries more."""

from fuzz import fuzz


def test_mutated_files_are_read_or_refused_in_one_line():
    counts, findings = fuzz(1000, seed=1)
    assert not findings, "\n".join(findings)
    assert all(outcomes["refused"] for outcomes in counts.values()) and len(counts) >= 24
