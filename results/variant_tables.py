"""The tables of variants, which the held-out images alone judge, and how many seeds they rest on."""

import itertools

from results import variants
from results.markdown import cell, grid, prose
from results.records import weights_title
from results.rows import ROWS, base_of

SEEDS = 3  # of a variant and of its base, before a difference between them counts as judged


def variant_tables(lines):
    """Markdown: held-out scores of the recipe and of variants, a table for each row compared
    with.

    lines  variants.load_all's
    """
    groups = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        groups.setdefault((line["size"], base_of(line["row"])), []).append(line)
    tables = []
    for (size, base), group in groups.items():
        first = group[0]
        introduction = (
            f"The {ROWS[base].title} ({size}) and what differs from it in one thing, on the "
            f"{first['images']} held-out images ({first['epochs']} × {first['rows']:,} rows at "
            f"{first['input_px']} px, {weights_title(first['row'])}; intervals paired over images, of one "
            "seed each):"
        )
        tables.append(f"{prose(introduction)}\n\n{variant_table(group)}")
    return tables


def variant_table(lines):
    """Markdown: a row, and those that are compared with it."""
    rows = []
    for line in lines:
        title = ROWS[line["row"]].title
        if line["seed"]:
            title += f", seed {line['seed']}"
        scores = [cell(line[column]) for column in variants.SCORES]
        gains = [gain_cell(line, column) for column in variants.SCORES]
        rows.append([title, *scores, *gains, f"`{line['flags']}`", line["commit"]])
    return grid(
        [
            "recipe",
            "PDJ@0.2",
            "strict PCP, mean of 4",
            "the whole recipe's gain: PDJ@0.2",
            "strict PCP",
            "flags of `Train_stage_1.py`",
            "commit",
        ],
        rows,
    )


def gain_cell(line, column):
    """A gain of the base over a variant; empty for a base itself."""
    if not line["against"]:
        return ""
    interval = (line[f"gain_{column}_low"], line[f"gain_{column}_high"])
    return cell(line[f"gain_{column}"], interval, "+")


def seeds_sentence(lines):
    """A sentence on how much another seed moved what the variants' tables show, and on how many
    seeds any line has."""
    # the lines that differ in the seed alone
    seeds_by_title = {}
    for line in lines:
        key = (line["size"], base_of(line["row"]), ROWS[line["row"]].title)
        seeds_by_title.setdefault(key, []).append(line)
    most_seeds = max(len(seeds) for seeds in seeds_by_title.values())
    judged_count = 0
    for (_, base, title), seeds in seeds_by_title.items():
        if title != ROWS[base].title and len(seeds) >= SEEDS:
            judged_count += 1
    # a base has no gain, and of a variant the gain is what is asked
    differences = {"pdj_0.2": [], "gain_pdj_0.2": []}
    for seeds in seeds_by_title.values():
        column = "gain_pdj_0.2" if seeds[0]["against"] else "pdj_0.2"
        for one, other in itertools.combinations(seeds, 2):
            differences[column].append(abs(one[column] - other[column]))
    # the sentence
    texts = {
        column: " and ".join(map(cell, values)) for column, values in differences.items() if values
    }
    sentence = (
        f"{judged_count or 'No'} entry of the recipe has {SEEDS} seeds; the most that any line has is "
        f"{most_seeds}."
    )
    if "pdj_0.2" in texts:
        sentence += f" Another seed moved the recipe's own held-out PDJ@0.2 by {texts['pdj_0.2']}"
        if "gain_pdj_0.2" in texts:
            sentence += f", and an entry's gain by {texts['gain_pdj_0.2']}"
        sentence += "."
    return sentence
