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
    prediction,
    run_flags,
    shell,
    workdir,
)
from deeppose.dataset import open_dataset
from deeppose.figure import render_person
from deeppose.shell import InputError
from deeppose.skeletons import LSP
from results import ledger
from results.card_sections import (
    SHIP_COMMAND,
    ancestor_lines,
    difficulty_lines,
    model_lines,
    score_lines,
    stage_titles,
    stages_of,
)
from results.run import commit_of

RENDERED = 60  # people, of whom failures.png shows the best, median and worst
PERSON_SEED = 1000  # of the first of them
LSP_TEST_IMAGES = 1000  # all of them: a scoring that results/ledger.csv counts
LICENCE = """The photographs that it learnt from are not part of it, and it holds no picture of anyone. They are the
Leeds Sports images of Sam Johnson and Mark Everingham, and where MPII is named above, those of Andriluka et al., *2D
Human Pose Estimation: New Benchmark and State of the Art Analysis*, CVPR 2014. Others took them and keep their rights
in them; the README and docs/data_sets.md tell where they come from and whom to cite. The project's own licence covers
its code. Whoever wants to use these weights for more than research has to find out what the photographs' owners allow.
The pictures here are rendered."""


@shell.command
def main(argv=None):
    parser = run_flags.parser(__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the shipped model")
    options = parser.parse_args(argv)
    dataset, joints, recorded = load_scored(options.folder, options)
    if dataset.skeleton.joints != LSP.joints:
        raise InputError(
            f"{options.folder}: is of {dataset.skeleton.name}'s joints; the people rendered for its failures "
            f"have {LSP.name}'s"
        )
    # the ledger's line comes before the scores are shown
    enter_in_ledger(options.folder, dataset, recorded)
    rendered_errors = failures(options.folder, options)
    text = card(options.folder, dataset, joints, recorded, rendered_errors)
    path = options.folder / "MODEL_CARD.md"
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{path} and failures.png")


def load_scored(folder, options):
    """The Dataset, the last stage's joints (N, J, 2) px in the last test run, and that run's
    metrics_stage_N.json.

    Raises InputError where that run's models were others than the folder's.
    """
    dataset = open_dataset(options.workdir)
    # the scores
    refined = workdir.stages_here(folder, dataset.skeleton)
    script = "test_stage_2.py" if refined else "test_stage_1.py"
    made_by = f"python {script} --model {folder} --workdir {options.workdir}"
    metrics_path = options.workdir / f"metrics_stage_{2 if refined else 1}.json"
    recorded = files.load_json(metrics_path, made_by)
    refiner_folder = folder if refined else None
    digests = workdir.model_digests(folder / "model_1.pt", dataset.skeleton, refiner_folder)
    if recorded.get("models") != digests:
        raise InputError(
            f"{metrics_path}: holds the scores of another model than {folder}'s; run {made_by}"
        )
    # the joints that were scored
    image_count, joint_count, _ = dataset.test_labels.shape
    output_path = options.workdir / f"test_output_{(1, *refined)[-1]}.npy"
    joints = arrays.load(output_path, np.float32, (image_count, 2 * joint_count), made_by)
    return dataset, np.array(joints).reshape(image_count, joint_count, 2), recorded


def enter_in_ledger(folder, dataset, recorded):
    """Add a line to results/ledger.csv for the scoring that the card is of, where none is there yet,
    of `python -m results` or of an earlier card."""
    if len(dataset.test_labels) != LSP_TEST_IMAGES or dataset.skeleton.name != LSP.name:
        return
    scored = ledger.scored(recorded["models"]["model_1.pt"], look_flags(recorded))
    scored = f"{scored}, {LSP_TEST_IMAGES:,} test images"
    if any(scored in line["what"] for line in ledger.entries()):
        return
    what = f"the card of {folder.as_posix()}, {scored}"
    stages = [stage.removeprefix("stage_") for stage in stages_of(recorded)]
    provenance = files.load_json(folder / "model_1.json", SHIP_COMMAND)
    ledger.append(f"shipped_{folder.name}", stages, commit_of(provenance), what)


def look_flags(recorded):
    """The flags of step 3 and 6 that say how stage 1 looked, of a metrics_stage_N.json."""
    flags = {"flip_test": "--flip-test", "two_pass": "--two-pass"}
    return [flag for entry, flag in flags.items() if recorded.get(entry)]


def failures(folder, options):
    """Write failures.png: people rendered here, the best, median and worst by the model.

    Returns the mean errors.
    """
    model = predict.load(folder, options.device, options.precision, options.compile)
    frame = model.stage_1.frame
    # render people into frames
    images = []
    true = []
    for number in range(RENDERED):
        image, joints, _ = render_person(np.random.default_rng(PERSON_SEED + number))
        photo = photos.read(image)
        region = geometry.to_aspect(geometry.image_box(photo.size), frame)
        images.append(photos.cut_frame(photo, region, frame))
        true.append(geometry.image_to_frame(joints, region, frame))
    images = np.stack(images)  # (n, h, w, 3)
    true = np.stack(true)  # (n, J, 2) px
    # estimate their poses, and draw them
    whole_frames = np.tile(geometry.image_box(frame), (RENDERED, 1))
    poses, confidence = prediction.estimate(model, whole_frames, images)
    poses = {stage.replace("_", " "): joints for stage, joints in poses.items()}
    confidence = {stage.replace("_", " "): values for stage, values in confidence.items()}
    drawing.contact_sheet(folder / "failures.png", images, poses, true, LSP, None, confidence)
    return {
        stage: float(np.nanmean(drawing.image_errors(joints, true, LSP, None)))
        for stage, joints in poses.items()
    }


def card(folder, dataset, joints, recorded, rendered_errors):
    """MODEL_CARD.md, as text.

    joints           the last stage's (N, J, 2) px, of the test images
    recorded         metrics_stage_N.json
    rendered_errors  stage -> mean error on rendered people, in torso diameters
    """
    stages = stage_titles(recorded)
    script = "test_stage_2.py" if len(stages) > 1 else "test_stage_1.py"
    errors = ", ".join(f"{error:.2f} after {stage}" for stage, error in rendered_errors.items())
    flags = look_flags(recorded)
    command = " ".join(["python", script, "--model", folder.as_posix(), *flags])
    looks = f"looked at with {' and '.join(flags)}" if flags else "looked at once"
    provenance = files.load_json(folder / "model_1.json", SHIP_COMMAND)
    set_names = provenance.get("sets", {}).values()
    lines = [
        f"# Model card: {folder.name}",
        "",
        f"{dataset.skeleton.name.upper()}'s {dataset.skeleton.joint_count} joints of one person in a photograph, "
        f"found by {', then '.join(stages)} of this project. Left and right are the person's own.",
        "",
        "## What it was trained on, and how long",
        "",
        *model_lines(folder),
        "",
        *ancestor_lines(folder),
        f"Rows are {', '.join(set_names) or 'images'}'s; weights are "
        "kept in float16 and computed with in float32 or bfloat16.",
        "",
        "## Scores",
        "",
        f"On {len(dataset.test_labels):,} test images, {looks}, in {recorded['run']['precision']}; `±` is half of the "
        f"{metrics.LEVEL} % interval, by bootstrap over images. They chose no epoch and no gain.",
        "",
        f"    {command}",
        "",
        "prints these again, in a working directory after step 1 that has no refiners of its own.",
        "",
        *score_lines(recorded, dataset.skeleton),
        "## How hard the image is",
        "",
        f"The scores of {stages[-1]}, by thirds of the test images:",
        "",
        *difficulty_lines(dataset, joints),
        "",
        "## Where it fails",
        "",
        "It takes what it is shown for one person: of several it mixes the joints, and where there is none it draws "
        "one all the same. Joints of low confidence are drawn faint.",
        "",
        f"Of {RENDERED} rendered people, of a kind that it never saw in training, looked at once, the mean error is "
        f"{errors}, in torso diameters. No photograph is shown here.",
        "",
        "![The best, median and worst of rendered people](failures.png)",
        "",
        "## Licence",
        "",
        LICENCE,
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
