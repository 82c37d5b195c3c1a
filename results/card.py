"""Write a shipped model's MODEL_CARD.md from its records, and failures.png, of rendered people.

Reads   model_*.json and model_*.pt in FOLDER
        in --workdir the arrays, and what `python test_stage_2.py --model FOLDER` left there (where
        FOLDER has no refiner test_stage_1.py): metrics_stage_2.json and the last test_output_N.npy
Writes  MODEL_CARD.md and failures.png in FOLDER
        a line in results/ledger.csv where the scores are of all of LSP's test images
Run     python -m results.card models/lsp --workdir WORKDIR
"""

import sys
from pathlib import Path

import numpy as np

import predict
from deeppose import (
    arrays,
    drawing,
    files,
    geometry,
    metrics,
    photos,
    runtime,
    shell,
    tables,
    text_tables,
    workdir,
)
from deeppose.figure import render_person
from deeppose.score_names import threshold_key
from deeppose.shell import InputError
from deeppose.skeleton import LSP
from results import ledger

RENDERED = 60  # people, of whom failures.png shows the best, middling and worst
PERSON_SEED = 1000  # of the first of them
THIRDS = ("least", "middle", "most")
LSP_TEST_IMAGES = 1000  # all of them: a scoring that results/ledger.csv counts
LICENCE = """The photographs that it learnt from are not part of it, and it holds no picture of anyone. They are the
Leeds Sports images of Sam Johnson and Mark Everingham, which others took and keep their rights in; see the README for
where they come from and whom to cite. The project's own licence covers its code. Whoever wants to use these weights for
more than research has to find out what the photographs' owners allow. The pictures here are rendered."""


def load_scored(folder, options):
    """The Dataset, the last stage's joints (N, J, 2) px in the last test run, and what
    metrics_stage_N.json says of it.

    Raises InputError where that run's models were others than the folder's.
    """
    data = arrays.open_dataset(options.workdir)
    refined = workdir.stages_here(folder, data.skeleton)
    script = "test_stage_2.py" if refined else "test_stage_1.py"
    made_by = f"python {script} --model {folder} --workdir {options.workdir}"
    metrics_path = options.workdir / f"metrics_stage_{2 if refined else 1}.json"
    recorded = files.load_json(metrics_path, made_by)
    here = workdir.model_digests(folder / "model_1.pt", data.skeleton, folder if refined else None)
    if recorded.get("models") != here:
        raise InputError(
            f"{metrics_path}: holds the scores of another model than {folder}'s; run {made_by}"
        )
    count, joint_count, _ = data.test_labels.shape
    path = options.workdir / f"test_output_{(1, *refined)[-1]}.npy"
    joints = arrays.load(path, np.float32, (count, 2 * joint_count), made_by)
    return data, np.array(joints).reshape(count, joint_count, 2), recorded


def table(heads, rows):
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def stages_of(recorded):
    """Names of the stages that were scored: "stage_1" ..."""
    return [
        name for name in (f"stage_{stage}" for stage in (1, *workdir.STAGES)) if name in recorded
    ]


def score_rows(recorded, kind, names):
    """Rows of a table: a score by name, with its interval, for each stage."""
    rows = []
    for key, name in names.items():
        row = [name]
        for stage in stages_of(recorded):
            score = recorded[stage][kind][key]
            interval = recorded["intervals"][stage][kind][key]
            # None: nothing is labelled
            row.append("–" if score is None else text_tables.score_cell(score, interval))
        rows.append(row)
    return rows


def score_lines(recorded, skeleton):
    """Tables of PCP by part and of PDJ by joint."""
    stages = [name.replace("_", " ") for name in stages_of(recorded)]
    lines = []
    if "pcp" in skeleton.scores:
        names = {part: part.replace("_", " ") for part in skeleton.limbs}
        names |= {mean: tables.mean_name(mean) for mean in skeleton.means}
        lines += table(["strict PCP@0.5", *stages], score_rows(recorded, "pcp_strict", names)) + [
            ""
        ]
    if "pdj" in skeleton.scores:
        threshold = 0.2 if 0.2 in skeleton.thresholds else skeleton.thresholds[0]
        names = {joint: joint.replace("_", " ") for joint in skeleton.joints}
        rows = score_rows(recorded, f"pdj_per_joint_{threshold:g}", names)
        rows += score_rows(recorded, "pdj", {threshold_key(threshold): "all joints"})
        lines += table([f"PDJ@{threshold:g}", *stages], rows) + [""]
    return lines


def difficulties(data):
    """Values (N,) by which test images are harder or easier, by what they are called."""
    true = data.test_labels.astype(float)
    extents = (np.nanmax(true, 1) - np.nanmin(true, 1)).max(1)  # (N,) px of the frame
    centred = true - np.nanmean(true, 1, keepdims=True)
    usual = data.mean_pose - data.mean_pose.mean(0)
    unusual = np.linalg.norm(
        centred / extents[:, None, None] - usual / np.ptp(usual, axis=0).max(), axis=2
    )
    return {"small in the photograph": -extents, "in an unusual pose": np.nanmean(unusual, 1)}


def difficulty_lines(data, joints):
    """A table of the headline scores of each third of the test images, by each of
    `difficulties`."""
    rows = []
    sizes = data.sizes("test")
    for name, values in difficulties(data).items():
        for word, third in zip(THIRDS, np.array_split(np.argsort(values, kind="stable"), 3)):
            own = {key: size[third] for key, size in sizes.items()}
            true = data.test_labels[third].astype(float)
            scores = metrics.score(joints[third], true, data.skeleton, own)
            ends = metrics.headline(
                metrics.intervals(joints[third], true, data.skeleton, own), data.skeleton
            )
            found = metrics.headline(scores, data.skeleton)
            rows.append(
                [
                    f"{word} {name}",
                    str(len(third)),
                    *(
                        text_tables.score_cell(score, ends[column][1])
                        for column, (_, score) in found.items()
                    ),
                ]
            )
    return table(
        ["third of the test images", "images", *(name for name, _ in found.values())], rows
    )


def model_lines(folder):
    """A table of the files, what each was trained on and how long."""
    rows = []
    for name in [path.stem for path in sorted(folder.glob("model_*.pt"))]:
        facts = files.load_json(folder / f"{name}.json", "python -m deeppose.ship")
        settings = facts.get("settings", {})
        run = facts.get("run", {})
        size = facts.get("input_size") or [facts.get("crop_px", "?")]
        megabytes = (folder / f"{name}.pt").stat().st_size / 1e6
        entries = (
            settings.get("rows"),
            settings.get("epochs"),
            facts.get("epoch"),
            " x ".join(map(str, size)),
            facts.get("initial_weights"),
            facts.get("seed"),
            run.get("commit"),
        )
        rows.append(
            [
                f"`{name}.pt`",
                f"{megabytes:.1f}",
                *("?" if one is None else str(one) for one in entries),
                f"{facts.get('seconds', 0) / 3600:.1f} on {run.get('threads', '?')} threads of "
                f"{run.get('device', '?')}, {run.get('precision', '?')}",
            ]
        )
    return table(
        [
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
        ],
        rows,
    )


def ancestor_lines(folder):
    """A paragraph about the trainings that stage 1's went on from; nothing where there was none."""
    ancestors = files.load_json(folder / "model_1.json", "python -m deeppose.ship").get("ancestors")
    if not ancestors:
        return []
    trainings = [
        f"{entry.get('seconds', 0) / 3600:.1f} hours, the weights of epoch {entry.get('epoch', '?')}, "
        f"begun with {entry.get('initial_weights', '?')}"
        for entry in ancestors
    ]
    return [
        f"Stage 1 went on from earlier trainings, the nearest first: {'; '.join(trainings)}.",
        "",
    ]


def failures(folder, options):
    """Write failures.png: people rendered here, the best, middling and worst by the model.

    Returns the mean errors.
    """
    model = predict.load(folder, options.device, options.precision, options.compile)
    frame = model.stage_1.frame
    images = []
    true = []
    for number in range(RENDERED):
        image, joints, _ = render_person(np.random.default_rng(PERSON_SEED + number))
        photo = photos.read(image)
        region = geometry.to_aspect(geometry.whole(photo.size), frame)
        images.append(photos.show(photo, region, frame))
        true.append(geometry.image_to_frame(joints, region, frame))
    images = np.stack(images)
    true = np.stack(true)
    whole = np.tile(geometry.whole(frame), (RENDERED, 1))
    poses, confidence = predict.estimate(model, whole, images)
    poses = {name.replace("_", " "): joints for name, joints in poses.items()}
    confidence = {name.replace("_", " "): sure for name, sure in confidence.items()}
    drawing.contact_sheet(folder / "failures.png", images, poses, true, LSP, None, confidence)
    return {
        name: float(np.nanmean(drawing.image_errors(joints, true, LSP, None)))
        for name, joints in poses.items()
    }


def card(folder, data, joints, recorded, rendered):
    """MODEL_CARD.md, as text; joints are the last stage's (N, J, 2) px, of the test images."""
    stages = [name.replace("_", " ") for name in stages_of(recorded)]
    script = "test_stage_2.py" if len(stages) > 1 else "test_stage_1.py"
    errors = ", ".join(f"{error:.2f} after {name}" for name, error in rendered.items())
    twice = "looks twice" if recorded.get("two_pass") else "looks once"
    lines = [
        f"# Model card: {folder.name}",
        "",
        f"The {data.skeleton.joint_count} joints of one person in a photograph, {data.skeleton.name}'s, by "
        f"{', then '.join(stages)} of this project. Left and right are the person's own.",
        "",
        "## What it was trained on, and how long",
        "",
        *model_lines(folder),
        "",
        *ancestor_lines(folder),
        f"Rows are {', '.join(data.facts.get('sets', {}).values()) or 'images'}'s; weights are "
        "kept in float16 and computed with in float32 or bfloat16.",
        "",
        "## Scores",
        "",
        f"On {len(data.test_labels):,} test images, {twice}, in {recorded['run']['precision']}; `±` is half of the "
        f"{metrics.LEVEL} % interval, by bootstrap over images. None of them chose anything in training.",
        "",
        f"    python {script} --model {folder.as_posix()}",
        "",
        "prints these again, in a working directory after step 1 that has no refiners of its own.",
        "",
        *score_lines(recorded, data.skeleton),
        "## How hard the image is",
        "",
        f"The scores of {stages[-1]}, by thirds of the test images:",
        "",
        *difficulty_lines(data, joints),
        "",
        "## Where it fails",
        "",
        "It takes what it is shown for one person: of several it mixes the joints, and where there is none it draws "
        "one all the same. Joints of low confidence are drawn faint.",
        "",
        f"Of {RENDERED} rendered people, of a kind that it never saw in training, the mean error is {errors}, in torso "
        "diameters. No photograph is shown here.",
        "",
        "![The best, middling and worst of rendered people](failures.png)",
        "",
        "## Licence",
        "",
        LICENCE,
        "",
    ]
    return "\n".join(lines)


def enter_in_ledger(folder, data, recorded):
    """Add a line to results/ledger.csv for the scoring that the card is of, where none is there yet,
    of `python -m results` or of an earlier card."""
    if len(data.test_labels) != LSP_TEST_IMAGES or data.skeleton.name != LSP.name:
        return
    digest = ledger.digest_of(recorded["models"]["model_1.pt"])
    if any(digest in line["what"] for line in ledger.entries()):
        return
    what = f"the card of {folder.as_posix()}, {digest}, {LSP_TEST_IMAGES:,} test images"
    stages = [name.removeprefix("stage_") for name in stages_of(recorded)]
    facts = files.load_json(folder / "model_1.json", "python -m deeppose.ship")
    commit = facts.get("run", {}).get("commit") or "unknown"
    ledger.append(f"shipped_{folder.name}", stages, commit, what)


@shell.command
def main(argv=None):
    parser = runtime.parser(__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the shipped model")
    options = parser.parse_args(argv)
    data, joints, recorded = load_scored(options.folder, options)
    if data.skeleton.joints != LSP.joints:
        raise InputError(
            f"{options.folder}: is of {data.skeleton.name}'s joints; the people rendered for its failures "
            f"have {LSP.name}'s"
        )
    enter_in_ledger(options.folder, data, recorded)
    text = card(options.folder, data, joints, recorded, failures(options.folder, options))
    path = options.folder / "MODEL_CARD.md"
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{path} and failures.png")


if __name__ == "__main__":
    sys.exit(main())
