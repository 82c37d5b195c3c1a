"""Sections of a shipped model's card, as lines of Markdown: scores, difficulty, trainings."""

import numpy as np

from deeppose import files, metrics, tables, text_tables, workdir
from deeppose.score_names import threshold_key
from results import markdown

SHIP_COMMAND = "python -m deeppose.ship"


def stages_of(recorded):
    """Names of the stages that were scored: "stage_1" ..."""
    stages = [f"stage_{stage}" for stage in (1, *workdir.STAGES)]
    return [stage for stage in stages if stage in recorded]


def stage_titles(recorded):
    """Names of the stages that were scored, as the card has them: "stage 1" ..."""
    return [stage.replace("_", " ") for stage in stages_of(recorded)]


def score_lines(recorded, skeleton):
    """Tables of PCP by part and of PDJ by joint."""
    stages = stage_titles(recorded)
    lines = []
    if "pcp" in skeleton.scores:
        titles = {part: part.replace("_", " ") for part in skeleton.limbs}
        titles |= {mean: tables.mean_name(mean) for mean in skeleton.means}
        rows = score_rows(recorded, "pcp_strict", titles)
        lines += [markdown.grid(["strict PCP@0.5", *stages], rows), ""]
    if "pdj" in skeleton.scores:
        threshold = 0.2 if 0.2 in skeleton.thresholds else skeleton.thresholds[0]
        titles = {joint: joint.replace("_", " ") for joint in skeleton.joints}
        rows = score_rows(recorded, f"pdj_per_joint_{threshold:g}", titles)
        rows += score_rows(recorded, "pdj", {threshold_key(threshold): "all joints"})
        lines += [markdown.grid([f"PDJ@{threshold:g}", *stages], rows), ""]
    return lines


def score_rows(recorded, kind, titles):
    """Rows of a table: a score by name, with its interval, for each stage.

    titles  key of a score of this kind -> its name in the table
    """
    rows = []
    for key, title in titles.items():
        row = [title]
        for stage in stages_of(recorded):
            score = recorded[stage][kind][key]
            interval = recorded["intervals"][stage][kind][key]
            # None: nothing is labelled
            row.append("–" if score is None else text_tables.score_cell(score, interval))
        rows.append(row)
    return rows


def difficulty_lines(dataset, joints):
    """A table of the headline scores of each third of the test images, by each of
    `difficulties`.

    joints  (N, J, 2) px of the test images
    """
    skeleton = dataset.skeleton
    sizes = dataset.sizes("test")
    rows = []
    for names, values in difficulties(dataset):
        thirds = np.array_split(np.argsort(values, kind="stable"), 3)
        for third_name, third in zip(names, thirds):
            third_sizes = {unit: values[third] for unit, values in sizes.items()}
            true = dataset.test_labels[third].astype(float)
            labelled = (joints[third], true, skeleton, third_sizes)
            scores = metrics.headline(metrics.score(*labelled), skeleton)
            intervals = metrics.headline(metrics.intervals(*labelled), skeleton)
            cells = []
            for column, (_, score) in scores.items():
                _, interval = intervals[column]
                cells.append(text_tables.score_cell(score, interval))
            rows.append([third_name, str(len(third)), *cells])
    score_titles = [title for title, _ in scores.values()]
    return [markdown.grid(["third of the test images", "images", *score_titles], rows)]


def difficulties(dataset):
    """Pairs: what the easiest, the middle and the hardest third of the test images are called, and
    values (N,) by which they are."""
    true = dataset.test_labels.astype(float)
    extents = (np.nanmax(true, 1) - np.nanmin(true, 1)).max(1)  # (N,) px of the frame
    # how far each pose is from the mean one, both centred and of one size
    poses = (true - np.nanmean(true, 1, keepdims=True)) / extents[:, None, None]
    mean_pose = dataset.mean_pose - dataset.mean_pose.mean(0)
    mean_pose = mean_pose / np.ptp(mean_pose, axis=0).max()
    distances = np.linalg.norm(poses - mean_pose, axis=2)  # (N, J)
    return [
        (("largest in the image", "of middling size", "smallest in the image"), -extents),
        (
            ("most usual poses", "middling poses", "most unusual poses"),
            np.nanmean(distances, 1),
        ),
    ]


def model_lines(folder):
    """A table of the files, what each was trained on and how long."""
    rows = [model_row(path) for path in sorted(folder.glob("model_*.pt"))]
    heads = [
        "file",
        "MB",
        "rows",
        "epochs",
        "the one kept",
        "pixels",
        "began with",
        "seed",
        "commit",
        "hours",
    ]
    return [markdown.grid(heads, rows)]


def model_row(path):
    """Cells about one model, from the .json beside it; "?" for what that does not say."""
    provenance = files.load_json(path.with_suffix(".json"), SHIP_COMMAND)
    settings = provenance.get("settings", {})
    run = provenance.get("run", {})
    input_size = provenance.get("input_size") or [provenance.get("crop_px", "?")]
    hours = provenance.get("seconds", 0) / 3600
    entries = (
        settings.get("rows"),
        settings.get("epochs"),
        provenance.get("epoch"),
        " x ".join(map(str, input_size)),
        provenance.get("initial_weights"),
        provenance.get("seed"),
        run.get("commit"),
    )
    return [
        f"`{path.name}`",
        f"{path.stat().st_size / 1e6:.1f}",
        *("?" if entry is None else str(entry) for entry in entries),
        f"{hours:.1f} on {run.get('threads', '?')} threads of "
        f"{run.get('device', '?')}, {run.get('precision', '?')}",
    ]


def ancestor_lines(folder):
    """A paragraph about the trainings that stage 1's went on from; nothing where there was none."""
    ancestors = files.load_json(folder / "model_1.json", SHIP_COMMAND).get("ancestors")
    if not ancestors:
        return []
    trainings = [
        f"{ancestor.get('seconds', 0) / 3600:.1f} hours, the weights of epoch {ancestor.get('epoch', '?')}, "
        f"begun with {ancestor.get('initial_weights', '?')}"
        for ancestor in ancestors
    ]
    return [
        f"Stage 1 went on from earlier trainings, the nearest first: {'; '.join(trainings)}.",
        "",
    ]
