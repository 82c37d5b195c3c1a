"""Paths of the recorded results."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "results"


def record(row_name, size):
    """Record of a scored row."""
    return RECORDS / f"{size}_{row_name}.json"


def records():
    """All records that are there, in order of their names."""
    return sorted(RECORDS.glob("*_*.json"))


def predictions(row_name, size, stage):
    """A stage's predictions of the test images for a scored row; stage is 1, 2 or 3."""
    return RECORDS / "predictions" / f"{size}_{row_name}_stage_{stage}.npz"


def variants():
    """Scores of all rows that the held-out images alone judge."""
    return RECORDS / "variants.csv"


def ledger():
    """Uses of the test images."""
    return RECORDS / "ledger.csv"
