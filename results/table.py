"""The README's tables of results, made from results/*.json: no figure is typed by hand."""
import itertools
import json
import re

import numpy as np

from deeppose import plots, tables
from deeppose.metrics import LEVEL
from results import run
from results.rows import ROWS, base_of

README = run.ROOT / "README.md"
CURVES = run.ROOT / "docs" / "learning_curves.png"
MARKS = "<!-- results: python -m results --table writes what is between these lines -->", "<!-- end of results -->"
PARTS = {"upper_arms": "upper arms", "lower_arms": "lower arms", "upper_legs": "upper legs", "lower_legs": "lower legs",
         "mean_4": "mean of 4", "mean_6": "of 6", "mean_10": "of 10"}


def found():
    """The contents of all results/<size>_<row>.json, titled as in ROWS and in their order, full runs first."""
    order = list(ROWS)
    contents = [json.loads(path.read_text()) for path in sorted(run.RECORDS.glob("*_*.json"))]
    sizes = {result["size"] for result in contents}
    contents = [result | {"title": ROWS[result["row"]].title + f" ({result['size']})" * (len(sizes) > 1)}
                for result in contents]
    return sorted(contents, key=lambda result: (result["size"] != "full", order.index(result["row"])))


def cell(value, interval=None, sign=""):
    """.453 ± .015, as fractions without their zero."""
    text = tables.score_cell(value, interval, sign)
    return re.sub(r"(?<![\d])0\.", ".", text.replace(" ±", " ± "))


def weights_name(result):
    """What the tables call a run's initial weights."""
    if ROWS[result["row"]].weights == "part":
        return "ImageNet in part (ResNet-18, layers 1–3)"
    return "random weights" if result["initial_weights"] == "random" else result["initial_weights"]


def row_name(result):
    """What a run is called: its title, and its initial weights."""
    return f"{result['title']}, {weights_name(result)}"


def length(result):
    """Epochs, rows and input of stage 1, and of the refiners."""
    text = f"{result['epochs']} × {result['rows']:,} rows at {result['input_px']} px"
    for stage, joints in result["cascade"].items():
        counts = [joint["epochs"] * joint["rows"] * (joint["simulated"] + 1) for joint in joints.values()]
        few, many = f"{min(counts):,}", f"{max(counts):,}"
        text += f"; {stage.replace('_', ' ')} {few if few == many else f'{few} to {many}'} crops a joint"
    return text


def score_table(results, kind):
    """Markdown: PCP of one kind by limb and as means, and PDJ@0.2, of every stage of every scored run."""
    lines = [f"| {kind} PCP@0.5 | " + " | ".join(PARTS.values()) + " | PDJ@0.2 |", "|---" * (len(PARTS) + 2) + "|"]
    floor = next((result["test"]["mean_pose"] for result in results if result.get("test")), None)
    rows = [("mean pose", floor, None)] if floor else []
    for result in results:
        test = result.get("test", {})
        rows += [(f"{row_name(result)}: **{stage.replace('_', ' ')}**", test[stage], test["intervals"][stage])
                 for stage in stages_of(test)]
    for name, scores, intervals in rows:
        keys = [(f"pcp_{kind}", part) for part in PARTS] + [("pdj", "0.20")]
        cells = [cell(scores[a][b], intervals and intervals[a][b]) for a, b in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stages_of(test):
    """The stages that a record has test scores of, in their order."""
    return [stage for stage in ("stage_1", "stage_2", "stage_3") if stage in test]


def gain_table(results):
    """Markdown: what each stage gained over the one before on the test images, part by part, with paired intervals."""
    lines = ["| gained, strict PCP | " + " | ".join(PARTS.values()) + " | PDJ@0.2 |",
             "|---" * (len(PARTS) + 2) + "|"]
    keys = [("pcp_strict", part) for part in PARTS] + [("pdj", "0.20")]
    for result in results:
        test = result.get("test", {})
        for before, stage in itertools.pairwise(stages_of(test)):
            cells = [cell(test[stage][a][b] - test[before][a][b], test["intervals"][f"gained_by_{stage}"][a][b], "+")
                     for a, b in keys]
            lines.append(f"| {row_name(result)}: **{stage.replace('_', ' ')}** over {before.replace('_', ' ')} | "
                         + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else ""


def variant_tables(results):
    """Markdown: what each entry of the recipe gains on the held-out images, a table for each row compared with."""
    groups, parts = {}, []
    for result in sorted(results, key=lambda result: result["seed"]):
        groups.setdefault((result["size"], base_of(result["row"])), []).append(result)
    for group in groups.values():
        first, images = group[0], len(group[0]["held_out"]["stage_1"]["joints_px"])
        parts.append(f"What each entry is worth to the {first['title']}, judged on the {images} held-out "
                     f"images alone ({length(first)}, {weights_name(first)}; paired intervals):\n\n"
                     + variant_table(group))
    return parts


def variant_table(results):
    """Markdown: a row, and those that are compared with it."""
    lines = ["| recipe | PDJ@0.2 | strict PCP, mean of 4 | the whole recipe's gain: PDJ@0.2 | strict PCP |",
             "|---" * 5 + "|"]
    for result in results:
        scores, against = result["held_out"]["stage_1"]["scores"], result.get("against", {})
        gains = [cell(against[name]["gain"], against[name]["interval"], "+") if against else ""
                 for name in ("pdj_0.2", "pcp_strict_mean_4")]
        title = result["title"] + (f", seed {result['seed']}" if result["seed"] else "")
        lines.append(f"| {title} | {cell(scores['pdj']['0.20'])} | {cell(scores['pcp_strict']['mean_4'])} | "
                     + " | ".join(gains) + " |")
    return "\n".join(lines)


def run_table(results):
    """Markdown: what each run was, and what gave it."""
    lines = ["| run | trained for | commands | seed | hours | hardware |", "|---" * 6 + "|"]
    for result in results:
        hours = sum(step.get("seconds", 0) for step in result["steps"]) / 3600
        commands = "<br>".join(f"`{step['command']}`" for step in result["steps"])
        name = f"[{row_name(result)}](results/{result['size']}_{result['row']}.json), at commit {result['commit']}"
        lines.append(f"| {name} | {length(result)} | {commands} | {result['seed']} | {hours:.1f} | "
                     f"{result['hardware']}, {result['run']['threads']} threads |")
    return "\n".join(lines)


def growth(result):
    """How much a doubling of the training images seen added on the held-out images, as a sentence."""
    seen = np.log2([entry["epoch"] * result["rows"] for entry in result["history"]])
    if len(seen) < 5:
        return ""
    slopes = [cell(np.polyfit(seen, [entry[key] for entry in result["history"]], 1)[0], sign="+")
              for key in ("pdj_0.2", "pcp_strict_mean_4")]
    return (f"{row_name(result)}, {result['input_px']} px: {slopes[0]} PDJ@0.2 and {slopes[1]} strict PCP a doubling, "
            f"from {2 ** seen[0]:,.0f} to {2 ** seen[-1]:,.0f} images")


def markdown():
    """All tables."""
    results = found()
    scored, variants = [r for r in results if "test" in r], [r for r in results if "test" not in r]
    parts = [score_table(scored, "strict"), score_table(scored, "relaxed"), gain_table(scored)]
    parts += variant_tables(variants)
    if grown := [sentence for result in scored if (sentence := growth(result))]:
        parts.append(f"![Held-out scores over the training images seen](docs/{CURVES.name})\n\nWhat seeing twice "
                     "as many images added on the held-out ones (least squares):\n\n- " + "\n- ".join(grown))
    parts.append(f"`±` is half of the {LEVEL} % interval, by bootstrap over images. What gave these rows:\n\n"
                 + run_table(scored))
    return "\n\n".join(part for part in parts if part)


def draw():
    """Draw the learning curves of the scored runs."""
    curves = {}
    for result in found():
        if "test" in result:
            history = {key: [entry[key] for entry in result["history"]] for key in ("pdj_0.2", "pcp_strict_mean_4")}
            images = [entry["epoch"] * result["rows"] for entry in result["history"]]
            curves[f"{row_name(result)}, {result['input_px']} px"] = history | {"images": images}
    if curves:
        plots.learning_curves(CURVES, curves)


def write():
    """Put the tables between the README's marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    README.write_text(f"{before}{MARKS[0]}\n\n{markdown()}\n\n{MARKS[1]}{after}", encoding="utf-8")
