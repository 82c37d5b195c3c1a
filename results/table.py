"""The tables in README.md and docs/accuracy.md, made from results/: no figure is typed by hand."""

import itertools
import json
import re
import textwrap

import numpy as np

from deeppose import metrics, plots, text_tables
from deeppose.published import CLIPPED, PUBLISHED
from deeppose.shell import InputError
from deeppose.workdir import SHARED
from results import ledger, paths, variants
from results.rows import ROWS, base_of

README = paths.ROOT / "README.md"
ACCURACY = paths.ROOT / "docs" / "accuracy.md"
CURVES = paths.ROOT / "docs" / "learning_curves.png"
MARKS = (
    "<!-- results: python -m results --table writes what is between these lines -->",
    "<!-- end of results -->",
)
PARTS = {
    "upper_arms": "upper arms",
    "lower_arms": "lower arms",
    "upper_legs": "upper legs",
    "lower_legs": "lower legs",
    "mean_4": "mean of 4",
    "mean_6": "of 6",
    "mean_10": "of 10",
}
LINE = 120  # columns of prose
SEEDS = 3  # of a variant and of its base, before a difference between them counts as judged


def found():
    """Contents of all records of scored rows, titled as in ROWS and in their order, full runs
    first."""
    order = list(ROWS)
    contents = [json.loads(path.read_text()) for path in paths.records()]
    sizes = {result["size"] for result in contents}
    contents = [
        result | {"title": ROWS[result["row"]].title + f" ({result['size']})" * (len(sizes) > 1)}
        for result in contents
    ]
    return sorted(
        contents, key=lambda result: (result["size"] != "full", order.index(result["row"]))
    )


def cell(value, interval=None, sign=""):
    """.453 ± .015, as fractions without their zero."""
    text = text_tables.score_cell(value, interval, sign)
    return re.sub(r"(?<![\d])0\.", ".", text.replace(" ±", " ± "))


def grid(heads, rows):
    """Markdown of a table: heads and rows of strings."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def prose(text):
    """Text in lines of at most LINE columns."""
    return textwrap.fill(text, LINE, break_long_words=False, break_on_hyphens=False)


def weights_name(result):
    """Name of a run's initial weights in the tables."""
    return {"none": "random weights", "part": "ImageNet in part", "imagenet": "ImageNet"}[
        ROWS[result["row"]].weights
    ]


def row_name(result):
    """Name of a run in the tables: its recipe, how long stage 1 was trained, on how large images,
    and from where."""
    if ROWS[result["row"]].model:  # its training is told in docs/accuracy.md
        return result["title"]
    epochs = f"{result['epochs']} epochs at {result['input_px']} px"
    return f"{result['title']}, {epochs}, {weights_name(result)}"


def stage_name(result, stage):
    """A stage's row in the tables: the run's, the stage, and how many crops its refiners saw."""
    crops = crop_counts(result).get(stage)
    return f"{row_name(result)}: **{stage.replace('_', ' ')}**" + (f", {crops}" if crops else "")


def crop_counts(result):
    """Crops that the refiners saw, by stage, as text such as "7,200 to 14,400 crops a joint"."""
    texts = {}
    if ROWS[result["row"]].model:
        return texts  # its refiners went on from others, as docs/accuracy.md tells
    for stage, refiners in result["cascade"].items():
        counts = {
            name: refiner["epochs"] * refiner["rows"] * (refiner["simulated"] + 1)
            for name, refiner in refiners.items()
        }
        if SHARED in counts:
            texts[stage] = f"{counts[SHARED]:,} crops of all joints"
            continue
        few = f"{min(counts.values()):,}"
        many = f"{max(counts.values()):,}"
        texts[stage] = f"{few if few == many else f'{few} to {many}'} crops a joint"
    return texts


def length(result):
    """Epochs, rows and input of stage 1, and crops of the refiners."""
    text = f"{result['epochs']} × {result['rows']:,} rows at {result['input_px']} px"
    crops = [f"; {stage.replace('_', ' ')} {count}" for stage, count in crop_counts(result).items()]
    return text + "".join(crops)


def stages_of(test):
    """The stages that a record has test scores of, in their order."""
    return [stage for stage in ("stage_1", "stage_2", "stage_3") if stage in test]


def score_table(results, heads, keys):
    """Markdown: scores at `keys`, pairs such as ("pdj", "0.20"), of every stage of every scored
    run, with intervals."""
    rows = []
    if results:
        floor = results[0]["test"]["mean_pose"]
        rows.append(["mean pose", *(cell(floor[kind][key]) for kind, key in keys)])
    for result in results:
        test = result["test"]
        for stage in stages_of(test):
            cells = [
                cell(test[stage][kind][key], test["intervals"][stage][kind][key])
                for kind, key in keys
            ]
            rows.append([stage_name(result, stage), *cells])
    return grid(heads, rows)


def part_table(results, kind):
    """Markdown: PCP of one kind by limb and as means, and PDJ@0.2."""
    keys = [(f"pcp_{kind}", part) for part in PARTS] + [("pdj", "0.20")]
    return score_table(results, [f"{kind} PCP@0.5", *PARTS.values(), "PDJ@0.2"], keys)


def short_table(results):
    """Markdown: the README's table, two scores a stage."""
    keys = [("pcp_strict", "mean_4"), ("pdj", "0.20")]
    heads = ["LSP, 1,000 test images", "strict PCP@0.5, mean of 4 limbs", "PDJ@0.2"]
    return score_table(comparable(results), heads, keys)


def comparable(results):
    """The runs without `original`, of a budget of its own, where `original_equal` was run too."""
    equal = {result["size"] for result in results if result["row"] == "original_equal"}
    return [
        result for result in results if result["row"] != "original" or result["size"] not in equal
    ]


def published_table():
    """Markdown: the published scores, each under the variant that it is."""
    rows = [
        [name, *(cell(value) if value else "" for value in values), data]
        for name, *values, data in PUBLISHED["lsp"].rows
    ]
    heads = [
        "published, LSP test",
        "strict PCP, mean of 4",
        "of 10",
        "relaxed, mean of 4",
        "PCK@0.2",
        "trained on",
    ]
    note = "\\* as recalled, not checked; the paper does not say which PCP, most likely relaxed. "
    return grid(heads, rows) + "\n\n" + prose(note + CLIPPED.replace("\n", " ") + ".")


def gain_table(results):
    """Markdown: what each stage gained over the one before on the test images, part by part, with
    paired intervals."""
    keys = [("pcp_strict", part) for part in PARTS] + [("pdj", "0.20")]
    rows = []
    for result in results:
        test = result["test"]
        for before, stage in itertools.pairwise(stages_of(test)):
            ends = test["intervals"][f"gained_by_{stage}"]
            cells = [
                cell(test[stage][kind][key] - test[before][kind][key], ends[kind][key], "+")
                for kind, key in keys
            ]
            rows.append([f"{stage_name(result, stage)}, over {before.replace('_', ' ')}", *cells])
    return grid(["gained, strict PCP", *PARTS.values(), "PDJ@0.2"], rows) if rows else ""


def variant_tables(lines):
    """Markdown: held-out scores of the recipe and of variants, a table for each row compared
    with."""
    groups = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        groups.setdefault((line["size"], base_of(line["row"])), []).append(line)
    return [
        prose(
            f"The {ROWS[base].title} ({size}) and what differs from it in one thing, on the "
            f"{group[0]['images']} held-out images ({group[0]['epochs']} × {group[0]['rows']:,} rows at "
            f"{group[0]['input_px']} px, {weights_name(group[0])}; intervals paired over images, of one seed "
            "each):"
        )
        + "\n\n"
        + variant_table(group)
        for (size, base), group in groups.items()
    ]


def variant_table(lines):
    """Markdown: a row, and those that are compared with it."""
    rows = []
    for line in lines:
        gains = [
            cell(line[f"gain_{name}"], (line[f"gain_{name}_low"], line[f"gain_{name}_high"]), "+")
            if line["against"]
            else ""
            for name in variants.SCORES
        ]
        title = ROWS[line["row"]].title + (f", seed {line['seed']}" if line["seed"] else "")
        scores = [cell(line[name]) for name in variants.SCORES]
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


def seeds_sentence(lines):
    """How much another seed moved what the variants' tables show, and how many seeds any line
    has."""
    by_title = {}
    for line in lines:
        by_title.setdefault(
            (line["size"], base_of(line["row"]), ROWS[line["row"]].title), []
        ).append(line)
    most = max(len(seeds) for seeds in by_title.values())
    judged = sum(
        len(seeds) >= SEEDS
        for (_, base, title), seeds in by_title.items()
        if title != ROWS[base].title
    )
    # a base has no gain, and of a variant the gain is what is asked
    moved = {"pdj_0.2": [], "gain_pdj_0.2": []}
    for seeds in by_title.values():
        name = "gain_pdj_0.2" if seeds[0]["against"] else "pdj_0.2"
        moved[name] += [
            abs(one[name] - other[name]) for one, other in itertools.combinations(seeds, 2)
        ]
    texts = {
        name: " and ".join(cell(value) for value in values)
        for name, values in moved.items()
        if values
    }
    said = f"{judged or 'No'} entry of the recipe has {SEEDS} seeds; the most that any line has is {most}."
    if "pdj_0.2" in texts:
        said += f" Another seed moved the recipe's own held-out PDJ@0.2 by {texts['pdj_0.2']}"
        said += (
            f", and an entry's gain by {texts['gain_pdj_0.2']}." if "gain_pdj_0.2" in texts else "."
        )
    return said


def run_table(results):
    """Markdown: length, commands, seed, time and hardware of each run."""
    rows = []
    for result in results:
        hours = sum(step.get("seconds", 0) for step in result["steps"]) / 3600
        link = (
            f"[{row_name(result)}](../results/{paths.record(result['row'], result['size']).name})"
        )
        commands = "<br>".join(f"`{step['command']}`" for step in result["steps"])
        rows.append(
            [
                f"{link}, at commit {result['commit']}",
                length(result),
                commands,
                str(result["seed"]),
                f"{hours:.1f}",
                f"{result['hardware']}, {result['run']['threads']} threads",
            ]
        )
    return grid(["run", "trained for", "commands", "seed", "hours", "hardware"], rows)


def growth(result):
    """How much a doubling of the training images seen added on the held-out images, as a
    sentence."""
    seen = np.log2([entry["epoch"] * result["rows"] for entry in result["history"]])
    if len(seen) < 5:
        return ""
    slopes = [
        cell(np.polyfit(seen, [entry[key] for entry in result["history"]], 1)[0], sign="+")
        for key in ("pdj_0.2", "pcp_strict_mean_4")
    ]
    return (
        f"{row_name(result)}: {slopes[0]} PDJ@0.2 and {slopes[1]} strict PCP a doubling, "
        f"from {2 ** seen[0]:,.0f} to {2 ** seen[-1]:,.0f} images"
    )


def readme_markdown():
    """The README's part: one table, and how often the test images were scored."""
    said = f"`±` is half of the {metrics.LEVEL} % interval, by bootstrap over images. {ledger.sentence()}"
    return f"{short_table(found())}\n\n{prose(said)}"


def markdown():
    """All tables, in their order in docs/accuracy.md."""
    results = found()
    lines = variants.found()
    parts = [
        prose(ledger.sentence()),
        f"`±` is half of the {metrics.LEVEL} % interval, by bootstrap over images.",
        part_table(results, "strict"),
        part_table(results, "relaxed"),
        gain_table(results),
        published_table(),
    ]
    if lines:
        parts += [prose(seeds_sentence(lines)), *variant_tables(lines)]
    if grown := [sentence for result in results if (sentence := growth(result))]:
        parts.append(
            f"![Held-out scores over the training images seen]({CURVES.name})\n\nWhat seeing twice "
            "as many images added on the held-out ones (least squares):\n\n- " + "\n- ".join(grown)
        )
    parts.append("What gave the rows of the test images:\n\n" + run_table(results))
    return "\n\n".join(part for part in parts if part)


def draw():
    """Draw the learning curves of the scored runs."""
    curves = {}
    for result in found():
        if not result["history"]:
            continue
        history = {
            key: [entry[key] for entry in result["history"]]
            for key in ("pdj_0.2", "pcp_strict_mean_4")
        }
        images = [entry["epoch"] * result["rows"] for entry in result["history"]]
        curves[row_name(result)] = history | {"images": images}
    if curves:
        plots.learning_curves(CURVES, curves)


def write():
    """Put the tables between the marks of README.md and docs/accuracy.md."""
    for path, content in ((README, readme_markdown()), (ACCURACY, markdown())):
        text = path.read_text(encoding="utf-8")
        if not 0 <= text.find(MARKS[0]) < text.find(MARKS[1]):
            raise InputError(
                f"{path}: has no place for the tables; put these two lines where they are to stand: "
                f"{' '.join(MARKS)}"
            )
        before, _, rest = text.partition(MARKS[0])
        _, _, after = rest.partition(MARKS[1])
        path.write_text(f"{before}{MARKS[0]}\n\n{content}\n\n{MARKS[1]}{after}", encoding="utf-8")
