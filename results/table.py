"""The tables in README.md and docs/accuracy.md, made from results/: no figure is typed by hand."""

import itertools

import numpy as np

from deeppose import files, metrics, training_plots
from deeppose.published import CLIPPED, PUBLISHED
from deeppose.shell import InputError
from results import ledger, paths, records, variants
from results.markdown import cell, grid, prose
from results.records import row_title, stage_title, stages_of
from results.rows import ROWS
from results.variant_tables import seeds_sentence, variant_tables

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
HEADLINE_KEYS = ("pdj_0.2", "pcp_strict_mean_4")  # of an epoch in a record's history
INTERVAL_NOTE = f"`±` is half of the {metrics.LEVEL} % interval, by bootstrap over images."


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
        text = f"{before}{MARKS[0]}\n\n{content}\n\n{MARKS[1]}{after}"
        with files.replacing(path) as temporary_path:
            temporary_path.write_text(text, encoding="utf-8")


def readme_markdown():
    """The README's part: one table, and how often the test images were scored."""
    note = prose(f"{INTERVAL_NOTE} {ledger.sentence()}")
    return f"{short_table(records.load_all())}\n\n{note}"


def markdown():
    """All tables, in their order in docs/accuracy.md."""
    results = records.load_all()
    # on the test images
    sections = [
        prose(ledger.sentence()),
        INTERVAL_NOTE,
        part_table(results, "strict"),
        part_table(results, "relaxed"),
        gain_table(results),
        true_box_table(results),
        published_table(),
    ]
    # on the held-out images
    variant_lines = variants.load_all()
    if variant_lines:
        sections += [prose(seeds_sentence(variant_lines)), *variant_tables(variant_lines)]
    growth_sentences = [sentence for sentence in map(growth, results) if sentence]
    if growth_sentences:
        sections.append(
            f"![Held-out scores over the training images seen]({CURVES.name})\n\nWhat seeing twice "
            "as many images added on the held-out ones (least squares):\n\n- "
            + "\n- ".join(growth_sentences)
        )
    # how each was made
    sections.append("What gave the rows of the test images:\n\n" + run_table(results))
    return "\n\n".join(section for section in sections if section)


def short_table(results):
    """Markdown: the README's table, two scores of the first and of the last stage."""
    keys = [("pcp_strict", "mean_4"), ("pdj", "0.20")]
    heads = ["LSP, 1,000 test images", "strict PCP@0.5, mean of 4 limbs", "PDJ@0.2"]
    shown = [result for result in results if ROWS[result["row"]].shown]
    return score_table(shown, heads, keys, first_and_last)


def first_and_last(stages):
    """The first and the last of one stage or more."""
    return stages if len(stages) == 1 else [stages[0], stages[-1]]


def part_table(results, kind):
    """Markdown: PCP of one kind by limb and as means, and PDJ@0.2."""
    keys = [(f"pcp_{kind}", part) for part in PARTS] + [("pdj", "0.20")]
    return score_table(results, [f"{kind} PCP@0.5", *PARTS.values(), "PDJ@0.2"], keys)


def score_table(results, heads, keys, choose_stages=list):
    """Markdown: scores at `keys`, pairs such as ("pdj", "0.20"), of the chosen stages of every
    scored run, with intervals."""
    rows = []
    # the mean pose is the same for all
    if results:
        mean_pose = results[0]["test"]["mean_pose"]
        rows.append(["mean pose", *(cell(mean_pose[kind][key]) for kind, key in keys)])
    for result in results:
        test = result["test"]
        for stage in choose_stages(stages_of(test)):
            cells = score_cells(test[stage], test["intervals"][stage], keys)
            rows.append([stage_title(result, stage), *cells])
    return grid(heads, rows)


def score_cells(scores, intervals, keys):
    """Cells of scores at `keys`, each with its interval."""
    return [cell(scores[kind][key], intervals[kind][key]) for kind, key in keys]


def gain_table(results):
    """Markdown: what each stage gained over the one before on the test images, part by part, with
    paired intervals."""
    keys = [("pcp_strict", part) for part in PARTS] + [("pdj", "0.20")]
    rows = []
    for result in results:
        test = result["test"]
        for before, stage in itertools.pairwise(stages_of(test)):
            intervals = test["intervals"][f"gained_by_{stage}"]
            cells = []
            for kind, key in keys:
                gain = test[stage][kind][key] - test[before][kind][key]
                cells.append(cell(gain, intervals[kind][key], "+"))
            title = f"{stage_title(result, stage)}, over {before.replace('_', ' ')}"
            rows.append([title, *cells])
    return grid(["gained, strict PCP", *PARTS.values(), "PDJ@0.2"], rows) if rows else ""


def true_box_table(results):
    """Markdown: stage 1's scores on crops of the true joints' boxes, by the boxes' factor."""
    parts = ("mean_4", "mean_6", "mean_10")
    keys = [("pcp_strict", part) for part in parts] + [("pdj", "0.20")]
    rows = []
    for result in results:
        entry = result["test"].get("true_boxes", {"intervals": {}})
        for factor, intervals in entry["intervals"].items():
            cells = score_cells(entry[factor], intervals, keys)
            rows.append([row_title(result), factor.removeprefix("x "), *cells])
    heads = ["strict PCP@0.5 on true boxes", "box", *(PARTS[part] for part in parts), "PDJ@0.2"]
    return grid(heads, rows) if rows else ""


def published_table():
    """Markdown: the published scores, each under the variant that it is."""
    rows = []
    for author, *scores, trained_on in PUBLISHED["lsp"].rows:
        rows.append([author, *(cell(score) if score else "" for score in scores), trained_on])
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


def growth(result):
    """A sentence on what a doubling of the training images seen added on the held-out images."""
    history = first_history(result)
    doublings = np.log2([epoch["epoch"] * result["rows"] for epoch in history])
    # a line through fewer epochs says little
    if len(doublings) < 5:
        return ""
    slopes = []
    for key in HEADLINE_KEYS:
        slope, _ = np.polyfit(doublings, [epoch[key] for epoch in history], 1)
        slopes.append(cell(slope, sign="+"))
    return (
        f"{row_title(result)}: {slopes[0]} PDJ@0.2 and {slopes[1]} strict PCP a doubling, "
        f"from {2 ** doublings[0]:,.0f} to {2 ** doublings[-1]:,.0f} images"
    )


def first_history(result):
    """The epochs of a run that began from no other row's model, whose images would count too."""
    return [] if ROWS[result["row"]].weights in ROWS else result["history"]


def run_table(results):
    """Markdown: length, commands, seed, time and hardware of each run."""
    rows = []
    for result in results:
        seconds = sum(step.get("seconds", 0) for step in result["steps"])
        record_name = paths.record(result["row"], result["size"]).name
        link = f"[{row_title(result)}](../results/{record_name})"
        rows.append(
            [
                f"{link}, at commit {result['commit']}",
                records.training_length(result),
                "<br>".join(f"`{step['command']}`" for step in result["steps"]),
                str(result["seed"]),
                f"{seconds / 3600:.1f}",
                f"{result['hardware']}, {result['run']['threads']} threads",
            ]
        )
    return grid(["run", "trained for", "commands", "seed", "hours", "hardware"], rows)


def draw():
    """Draw the learning curves of the scored runs."""
    curves = {}
    for result in records.load_all():
        history = first_history(result)
        if not history:
            continue
        curve = {key: [epoch[key] for epoch in history] for key in HEADLINE_KEYS}
        images_seen = [epoch["epoch"] * result["rows"] for epoch in history]
        curves[row_title(result)] = curve | {"images": images_seen}
    if curves:
        training_plots.learning_curves(CURVES, curves)
