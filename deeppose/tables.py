"""Scores as tables, for the shell at most 100 columns wide and for the report.

A table is a Table; `text` sets it for the shell, deeppose.report for the browser.
"""

import math
from dataclasses import dataclass, replace

from deeppose.metrics import LEVEL, pckh_thresholds
from deeppose.published import PUBLISHED, own_row
from deeppose.skeleton import threshold_key

MEANS = {"mean_4": "mean of 4 limbs", "mean_6": "mean of 6 parts", "mean_10": "mean of 10 sticks"}


@dataclass(frozen=True)
class Table:
    """A table to be printed, all strings.

    title   above it
    groups  (title, column heads) pairs
    rows    (name, cells) pairs
    note    below it
    """

    title: str
    groups: tuple
    rows: tuple
    note: str = ""

    @property
    def heads(self):
        return [head for _, heads in self.groups for head in heads]


def _number(value, sign=""):
    return "-" if value is None or math.isnan(value) else f"{value:{sign}.3f}"


def score_cell(value, interval, sign=""):
    """A score and half the width of its interval."""
    if interval is None or math.isnan(interval[0]):
        return _number(value, sign)
    return f"{_number(value, sign)} ±{(interval[1] - interval[0]) / 2:.3f}"


def _at(scores, keys):
    for key in keys:
        scores = scores[key]
    return scores


def _cells(scores, keys, intervals=None):
    """The score at `keys` of every column, and what the last stage gained over stage 1."""

    def around(name):
        return _at(intervals[name], keys) if name in (intervals or {}) else None

    cells = [score_cell(_at(score, keys), around(name)) for name, score in scores.items()]
    if _refined(scores):
        gained = _at(scores[list(scores)[-1]], keys) - _at(scores["stage 1"], keys)
        cells.append(score_cell(gained, around("gained"), "+"))
    return cells


def _refined(scores):
    return "stage 2" in scores or "stage 3" in scores


def _heads(scores):
    return (*scores, "gained") if _refined(scores) else tuple(scores)


def _few(scores, count):
    """The last `count` columns, but always the first stage's among them."""
    names = list(scores)[-count:]
    names[0] = "stage 1" if _refined(scores) and "stage 1" not in names else names[0]
    return {name: scores[name] for name in names}


def summary_table(scores, intervals, skeleton):
    """The scores that sum up, each with its interval.

    scores     column name -> metrics.score's dictionary, such as {"mean pose": S, "stage 1": S,
               "stage 2": S}
    intervals  column name, or "gained" -> metrics.intervals'
    """
    rows = {}
    if "pcp" in skeleton.scores:
        rows |= {
            f"PCP {kind}, {mean_name(mean)}": (f"pcp_{kind}", mean)
            for kind in ("strict", "relaxed")
            for mean in skeleton.means
        }
    if "pdj" in skeleton.scores:
        rows |= {
            f"PDJ@{t:g}" + " (= PCK@0.2)" * (t == 0.2): ("pdj", threshold_key(t))
            for t in skeleton.thresholds
        }
        rows["AUC of PDJ, 0...0.5"] = ("auc",)
    if "pckh" in skeleton.scores:
        head = "" if skeleton.unit == "head" else f" (head: {' to '.join(reversed(skeleton.head))})"
        rows |= {f"PCKh@{t:g}{head}": (f"pckh_{t:g}",) for t in pckh_thresholds(skeleton)}
    if "oks" in skeleton.scores:
        rows["OKS, mean"] = ("oks",)
    if "loss" in skeleton.scores:
        rows["loss: half the mean square, px²"] = ("loss",)
    return Table(
        "All joints and limbs",
        (("", _heads(scores)),),
        tuple((name, _cells(scores, keys, intervals)) for name, keys in rows.items()),
        f"± half of the {LEVEL} % interval (bootstrap over images); that of a gain is paired, image by image",
    )


def mean_name(mean):
    """What a table calls one of a skeleton's means."""
    return MEANS.get(mean, mean.replace("_", " "))


def part_table(scores, skeleton):
    """Strict and relaxed PCP of every part.

    The mean pose is left out where there are three stages.
    """
    scores = _few(scores, 3)
    kinds = {"strict": "pcp_strict", "relaxed": "pcp_relaxed"}
    rows = {part: part.replace("_", " ") for part in skeleton.limbs}
    rows |= {mean: mean_name(mean) for mean in skeleton.means}
    return Table(
        "PCP@0.5 by part",
        tuple((kind, _heads(scores)) for kind in kinds),
        tuple(
            (name, [cell for key in kinds.values() for cell in _cells(scores, (key, part))])
            for part, name in rows.items()
        ),
        "strict: both ends within half the limb's length; relaxed: the mean of the two errors is",
    )


def joint_table(scores, skeleton, thresholds, kind="pdj"):
    """PDJ of every joint at up to three thresholds: of two columns, with two stages or more the
    first's and last's.

    kind  "pckh" for PCKh instead
    """
    scores = _few(scores, 2)
    word = {"pdj": "PDJ", "pckh": "PCKh"}[kind]
    rows = []
    for joint in skeleton.joints:
        keys = [(f"{kind}_per_joint_{t:g}", joint) for t in thresholds]
        rows.append(
            (joint.replace("_", " "), [cell for key in keys for cell in _cells(scores, key)])
        )
    pooled = [("pdj", threshold_key(t)) if kind == "pdj" else (f"pckh_{t:g}",) for t in thresholds]
    rows.append(("all joints", [cell for key in pooled for cell in _cells(scores, key)]))
    return Table(
        f"{word} by joint",
        tuple((f"{word}@{t:g}", _heads(scores)) for t in thresholds),
        tuple(rows),
    )


def published_table(scores, skeleton, image_count):
    """The published scores on the skeleton's test images, each under the variant that it is, then
    ours; or None."""
    published = PUBLISHED.get(skeleton.name)
    if published is None:
        return None
    rows = [
        (name, [_number(value) for value in values] + [data])
        for name, *values, data in published.rows
    ]
    for name, score in scores.items():
        rows.append(
            (f"this run, {name}", [_number(value) for value in own_row(score, published)] + [""])
        )
    note = published.note
    if image_count != published.images:
        note += (
            f"\nThese are {image_count} images, not the {published.images:,} of the published scores: "
            "the two cannot be compared."
        )
    return Table(published.title, published.heads, tuple(rows), note)


def seen_note(seen, image_count):
    """The mark of every score where `seen` of the test images are in the training part as well."""
    return f"seen in training: {seen} of these {image_count} images"


def _noted(table, line):
    return replace(table, note=f"{table.note}\n{line}" if table.note else line)


def score_tables(scores, intervals, skeleton, image_count, threshold=None, seen=0):
    """All tables of a test script.

    `threshold` is a further one of PDJ, `seen` counts images that were trained on.
    """
    tables = [summary_table(scores, intervals, skeleton)]
    if "pcp" in skeleton.scores:
        tables.append(part_table(scores, skeleton))
    if "pdj" in skeleton.scores:
        tables.append(joint_table(scores, skeleton, skeleton.thresholds[:3]))
        if threshold is not None:
            tables.append(joint_table(scores, skeleton, (threshold,)))
    if "pckh" in skeleton.scores and skeleton.unit == "head":
        tables.append(joint_table(scores, skeleton, pckh_thresholds(skeleton)[:3], "pckh"))
    never_labelled = [score["never_labelled"] for score in scores.values()][-1]
    if never_labelled:
        tables[0] = _noted(
            tables[0], f"never labelled, and in no mean: {', '.join(never_labelled)}"
        )
    if published := published_table(scores, skeleton, image_count):
        tables.append(published)
    if seen:
        tables = [_noted(table, seen_note(seen, image_count)) for table in tables]
    return tables


def text(table):
    """A Table as lines of text, columns as wide as they need to be."""
    name_width = max(len(name) for name in (table.title, *(f"  {name}" for name, _ in table.rows)))
    widths = [
        2 + max(len(cell) for cell in column)
        for column in zip(table.heads, *(cells for _, cells in table.rows))
    ]
    lines = []
    start = 0
    over = ""
    for group, heads in table.groups:
        width = sum(widths[start : start + len(heads)])
        over = over + f"{group:^{width}}"
        start = start + len(heads)
    if over.strip():
        lines.append(" " * name_width + over)
    lines.append(f"{table.title:<{name_width}}" + _line(table.heads, widths))
    lines += [f"{'  ' + name:<{name_width}}" + _line(cells, widths) for name, cells in table.rows]
    if table.note:
        lines += [f"  {line}" for line in table.note.splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _line(cells, widths):
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
