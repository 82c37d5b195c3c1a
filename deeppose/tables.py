"""Scores as tables: those that sum up, by part and by joint, and beside the published ones."""

from dataclasses import replace

from deeppose.metrics import LEVEL
from deeppose.published import PUBLISHED, own_row
from deeppose.score_names import pckh_thresholds, threshold_key
from deeppose.text_tables import Table, number_cell, score_cell

MEANS = {"mean_4": "mean of 4 limbs", "mean_6": "mean of 6 parts", "mean_10": "mean of 10 sticks"}


def score_tables(scores, intervals, skeleton, row_count, threshold=None, seen=0):
    """All tables of a test script.

    row_count  of the test rows
    threshold  a further one of PDJ
    seen       the number of test rows whose images were trained on
    """
    tables = [summary_table(scores, intervals, skeleton)]
    if "pcp" in skeleton.scores:
        tables.append(part_table(scores, skeleton))
    # three thresholds are as many as fit into a line
    if "pdj" in skeleton.scores:
        tables.append(joint_table(scores, skeleton, skeleton.thresholds[:3]))
        if threshold is not None:
            tables.append(joint_table(scores, skeleton, (threshold,)))
    if "pckh" in skeleton.scores and skeleton.unit == "head":
        tables.append(joint_table(scores, skeleton, pckh_thresholds(skeleton)[:3], "pckh"))
    # of the true joints, so the same in every column
    never_labelled = next(iter(scores.values()))["never_labelled"]
    if never_labelled:
        line = f"never labelled, and in no mean: {', '.join(never_labelled)}"
        tables[0] = _with_note(tables[0], line)
    if published := published_table(scores, skeleton, row_count):
        tables.append(published)
    if seen:
        tables = [_with_note(table, seen_note(seen, row_count)) for table in tables]
    return tables


def _with_note(table, line):
    """The Table with a further line below it."""
    return replace(table, note=f"{table.note}\n{line}" if table.note else line)


def seen_note(seen, row_count):
    """Mark of every score where the images of `seen` test rows are in the training part as well."""
    return f"seen in training: {seen} of these {row_count} test rows"


def summary_table(scores, intervals, skeleton):
    """Table of the scores that sum up, each with its interval.

    scores     column name -> metrics.score's dictionary, such as {"mean pose": S, "stage 1": S,
               "stage 2": S}
    intervals  column name, or "gained" -> metrics.intervals'
    """
    rows = [
        (row_name, _cells(scores, keys, intervals))
        for row_name, keys in _summary_keys(skeleton).items()
    ]
    return Table(
        "All joints and limbs",
        (("", _heads(scores)),),
        tuple(rows),
        f"± half of the {LEVEL} % interval (bootstrap over images); "
        "that of a gain is paired, image by image",
    )


def _summary_keys(skeleton):
    """Keys of each of the scores that sum up, by the name of its row."""
    keys_by_row = {}
    if "pcp" in skeleton.scores:
        for kind in ("strict", "relaxed"):
            for mean in skeleton.means:
                keys_by_row[f"PCP {kind}, {mean_name(mean)}"] = (f"pcp_{kind}", mean)
    if "pdj" in skeleton.scores:
        for threshold in skeleton.thresholds:
            other_name = " (= PCK@0.2)" if threshold == 0.2 else ""
            keys_by_row[f"PDJ@{threshold:g}{other_name}"] = ("pdj", threshold_key(threshold))
        keys_by_row["AUC of PDJ, 0...0.5"] = ("auc",)
    if "pckh" in skeleton.scores:
        # a head measured between two joints is another unit than MPII's box
        head = "" if skeleton.unit == "head" else f" (head: {' to '.join(reversed(skeleton.head))})"
        for threshold in pckh_thresholds(skeleton):
            keys_by_row[f"PCKh@{threshold:g}{head}"] = (f"pckh_{threshold:g}",)
    if "oks" in skeleton.scores:
        keys_by_row["OKS, mean"] = ("oks",)
    if "loss" in skeleton.scores:
        keys_by_row["loss: half the mean square, px²"] = ("loss",)
    return keys_by_row


def mean_name(mean):
    """Name of one of a skeleton's means in a table."""
    return MEANS.get(mean, mean.replace("_", " "))


def part_table(scores, skeleton):
    """Table of strict and relaxed PCP of every part.

    The mean pose is left out where there are three stages.
    """
    scores = _last_columns(scores, 3)
    row_names = {part: part.replace("_", " ") for part in skeleton.limbs}
    row_names |= {mean: mean_name(mean) for mean in skeleton.means}
    rows = []
    for part, row_name in row_names.items():
        strict_cells = _cells(scores, ("pcp_strict", part))
        relaxed_cells = _cells(scores, ("pcp_relaxed", part))
        rows.append((row_name, strict_cells + relaxed_cells))
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
    score_name = {"pdj": "PDJ", "pckh": "PCKh"}[kind]
    rows = []
    for joint in skeleton.joints:
        cells = []
        for threshold in thresholds:
            cells += _cells(scores, (f"{kind}_per_joint_{threshold:g}", joint))
        rows.append((joint.replace("_", " "), cells))
    pooled_cells = []
    for threshold in thresholds:
        keys = ("pdj", threshold_key(threshold)) if kind == "pdj" else (f"pckh_{threshold:g}",)
        pooled_cells += _cells(scores, keys)
    rows.append(("all joints", pooled_cells))
    return Table(
        f"{score_name} by joint",
        tuple((f"{score_name}@{threshold:g}", _heads(scores)) for threshold in thresholds),
        tuple(rows),
    )


def published_table(scores, skeleton, row_count):
    """Table of the published scores on the skeleton's test images, then of ours; or None.

    Each score stands under the variant that it is.
    """
    published = PUBLISHED.get(skeleton.name)
    if published is None:
        return None
    rows = []
    for author, *values, trained_on in published.rows:
        rows.append((author, [*map(number_cell, values), trained_on]))
    for column, score in scores.items():
        values = own_row(score, published)
        rows.append((f"this run, {column}", [*map(number_cell, values), ""]))
    # scores of other images are no comparison
    note = published.note
    if row_count != published.images:
        note += (
            f"\nThese are {row_count} test rows, not the {published.images:,} images of the published "
            "scores: the two cannot be compared."
        )
    return Table(published.title, published.heads, tuple(rows), note)


def _heads(scores):
    """The heads of the columns that _cells fills."""
    return (*scores, "gained") if _has_refiners(scores) else tuple(scores)


def _cells(scores, keys, intervals=None):
    """The score at `keys` of every column, and the last stage's gain over stage 1."""
    intervals = intervals or {}
    cells = []
    for column, column_scores in scores.items():
        interval = _at(intervals[column], keys) if column in intervals else None
        cells.append(score_cell(_at(column_scores, keys), interval))
    if _has_refiners(scores):
        last_stage = list(scores)[-1]
        # its interval is paired, and so narrower than those of the two scores suggest
        gain = _at(scores[last_stage], keys) - _at(scores["stage 1"], keys)
        interval = _at(intervals["gained"], keys) if "gained" in intervals else None
        cells.append(score_cell(gain, interval, "+"))
    return cells


def _at(scores, keys):
    """The entry of nested dictionaries at a path of keys."""
    for key in keys:
        scores = scores[key]
    return scores


def _has_refiners(scores):
    """Whether there is a column of a further stage, and so one of its gain."""
    return "stage 2" in scores or "stage 3" in scores


def _last_columns(scores, count):
    """The last `count` columns, but always the first stage's among them."""
    columns = list(scores)[-count:]
    if _has_refiners(scores) and "stage 1" not in columns:
        columns[0] = "stage 1"
    return {column: scores[column] for column in columns}
