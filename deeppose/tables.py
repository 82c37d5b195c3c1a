"""Scores as tables, for the shell at most 100 columns wide and for the report.

A table is a Table; `text` sets it for the shell, deeppose.report for the browser.
"""

import math
from dataclasses import dataclass, replace

from deeppose.metrics import LEVEL, pckh_thresholds
from deeppose.published import PUBLISHED, own_row
from deeppose.score_names import threshold_key

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
        """The heads of all columns, group after group."""
        return [head for _, heads in self.groups for head in heads]


def _number(value, sign=""):
    """A score in three digits, "-" for None and NaN; sign "+" writes it out."""
    return "-" if value is None or math.isnan(value) else f"{value:{sign}.3f}"


def score_cell(value, interval, sign=""):
    """A score and half the width of its interval."""
    if interval is None or math.isnan(interval[0]):
        return _number(value, sign)
    half_width = (interval[1] - interval[0]) / 2
    return f"{_number(value, sign)} ±{half_width:.3f}"


def _at(scores, keys):
    """The entry of nested dictionaries at a path of keys."""
    for key in keys:
        scores = scores[key]
    return scores


def _cells(scores, keys, intervals=None):
    """The score at `keys` of every column, and the last stage's gain over stage 1."""

    def interval_of(name):
        return _at(intervals[name], keys) if name in (intervals or {}) else None

    cells = [score_cell(_at(score, keys), interval_of(name)) for name, score in scores.items()]
    if _has_refiners(scores):
        last_stage = list(scores)[-1]
        gain = _at(scores[last_stage], keys) - _at(scores["stage 1"], keys)
        cells.append(score_cell(gain, interval_of("gained"), "+"))
    return cells


def _has_refiners(scores):
    """Whether there is a column of a further stage, and so one of its gain."""
    return "stage 2" in scores or "stage 3" in scores


def _heads(scores):
    """The heads of the columns that _cells fills."""
    return (*scores, "gained") if _has_refiners(scores) else tuple(scores)


def _last_columns(scores, count):
    """The last `count` columns, but always the first stage's among them."""
    names = list(scores)[-count:]
    if _has_refiners(scores) and "stage 1" not in names:
        names[0] = "stage 1"
    return {name: scores[name] for name in names}


def summary_table(scores, intervals, skeleton):
    """Table of the scores that sum up, each with its interval.

    scores     column name -> metrics.score's dictionary, such as {"mean pose": S, "stage 1": S,
               "stage 2": S}
    intervals  column name, or "gained" -> metrics.intervals'
    """
    rows = {}  # name -> keys of the score
    if "pcp" in skeleton.scores:
        for kind in ("strict", "relaxed"):
            for mean in skeleton.means:
                rows[f"PCP {kind}, {mean_name(mean)}"] = (f"pcp_{kind}", mean)
    if "pdj" in skeleton.scores:
        for t in skeleton.thresholds:
            other_name = " (= PCK@0.2)" if t == 0.2 else ""
            rows[f"PDJ@{t:g}{other_name}"] = ("pdj", threshold_key(t))
        rows["AUC of PDJ, 0...0.5"] = ("auc",)
    if "pckh" in skeleton.scores:
        head = "" if skeleton.unit == "head" else f" (head: {' to '.join(reversed(skeleton.head))})"
        for t in pckh_thresholds(skeleton):
            rows[f"PCKh@{t:g}{head}"] = (f"pckh_{t:g}",)
    if "oks" in skeleton.scores:
        rows["OKS, mean"] = ("oks",)
    if "loss" in skeleton.scores:
        rows["loss: half the mean square, px²"] = ("loss",)
    return Table(
        "All joints and limbs",
        (("", _heads(scores)),),
        tuple((name, _cells(scores, keys, intervals)) for name, keys in rows.items()),
        f"± half of the {LEVEL} % interval (bootstrap over images); "
        "that of a gain is paired, image by image",
    )


def mean_name(mean):
    """Name of one of a skeleton's means in a table."""
    return MEANS.get(mean, mean.replace("_", " "))


def part_table(scores, skeleton):
    """Table of strict and relaxed PCP of every part.

    The mean pose is left out where there are three stages.
    """
    scores = _last_columns(scores, 3)
    names = {part: part.replace("_", " ") for part in skeleton.limbs}
    names |= {mean: mean_name(mean) for mean in skeleton.means}
    rows = []
    for part, name in names.items():
        strict = _cells(scores, ("pcp_strict", part))
        relaxed = _cells(scores, ("pcp_relaxed", part))
        rows.append((name, strict + relaxed))
    return Table(
        "PCP@0.5 by part",
        (("strict", _heads(scores)), ("relaxed", _heads(scores))),
        tuple(rows),
        "strict: both ends within half the limb's length; relaxed: the mean of the two errors is",
    )


def joint_table(scores, skeleton, thresholds, kind="pdj"):
    """Table of the PDJ of every joint at up to three thresholds.

    It has the last two columns of scores; of two stages or more, the first's and the last's.

    kind  "pckh" for PCKh instead
    """
    scores = _last_columns(scores, 2)
    word = {"pdj": "PDJ", "pckh": "PCKh"}[kind]
    rows = []
    for joint in skeleton.joints:
        cells = []
        for t in thresholds:
            cells += _cells(scores, (f"{kind}_per_joint_{t:g}", joint))
        rows.append((joint.replace("_", " "), cells))
    pooled_cells = []
    for t in thresholds:
        keys = ("pdj", threshold_key(t)) if kind == "pdj" else (f"pckh_{t:g}",)
        pooled_cells += _cells(scores, keys)
    rows.append(("all joints", pooled_cells))
    return Table(
        f"{word} by joint",
        tuple((f"{word}@{t:g}", _heads(scores)) for t in thresholds),
        tuple(rows),
    )


def published_table(scores, skeleton, image_count):
    """Table of the published scores on the skeleton's test images, then of ours; or None.

    Each score stands under the variant that it is.
    """
    published = PUBLISHED.get(skeleton.name)
    if published is None:
        return None
    rows = []
    for name, *values, trained_on in published.rows:
        rows.append((name, [*map(_number, values), trained_on]))
    for name, score in scores.items():
        rows.append((f"this run, {name}", [*map(_number, own_row(score, published)), ""]))
    note = published.note
    if image_count != published.images:
        note += (
            f"\nThese are {image_count} images, not the {published.images:,} of the published "
            "scores: the two cannot be compared."
        )
    return Table(published.title, published.heads, tuple(rows), note)


def seen_note(seen, image_count):
    """Mark of every score where `seen` of the test images are in the training part as well."""
    return f"seen in training: {seen} of these {image_count} images"


def _noted(table, line):
    """The Table with a further line below it."""
    return replace(table, note=f"{table.note}\n{line}" if table.note else line)


def score_tables(scores, intervals, skeleton, image_count, threshold=None, seen=0):
    """All tables of a test script.

    threshold  a further one of PDJ
    seen       the number of test images that were trained on
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
    # the same for every column, since it is of the true joints
    never_labelled = [score["never_labelled"] for score in scores.values()][-1]
    if never_labelled:
        line = f"never labelled, and in no mean: {', '.join(never_labelled)}"
        tables[0] = _noted(tables[0], line)
    if published := published_table(scores, skeleton, image_count):
        tables.append(published)
    if seen:
        tables = [_noted(table, seen_note(seen, image_count)) for table in tables]
    return tables


def text(table):
    """A Table as lines of text, columns as wide as they need to be."""
    # the columns' widths in letters
    names = [f"  {name}" for name, _ in table.rows]
    name_width = max(len(name) for name in (table.title, *names))
    columns = zip(table.heads, *(cells for _, cells in table.rows))
    widths = [2 + max(len(cell) for cell in column) for column in columns]
    # the groups' titles, each over the middle of its columns
    lines = []
    group_line = ""
    start = 0
    for title, heads in table.groups:
        group_width = sum(widths[start : start + len(heads)])
        group_line += f"{title:^{group_width}}"
        start += len(heads)
    if group_line.strip():
        lines.append(" " * name_width + group_line)
    # the columns' heads, the rows and the note
    lines.append(f"{table.title:<{name_width}}" + _line(table.heads, widths))
    for name, (_, cells) in zip(names, table.rows):
        lines.append(f"{name:<{name_width}}" + _line(cells, widths))
    if table.note:
        lines += [f"  {line}" for line in table.note.splitlines()]
    return "\n".join(line.rstrip() for line in lines)


def _line(cells, widths):
    """Cells in one line, each at the right of its column."""
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
