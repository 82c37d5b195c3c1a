"""Files and lines that both test scripts leave: scores as JSON and on the shell, poses, report.html."""

import numpy as np

from deeppose import (
    arrays,
    coco_results,
    csv_files,
    files,
    metrics,
    report,
    tables,
    text_tables,
    training_plots,
)
from deeppose.locks import lock


def write_scores(path, scores, intervals, run_facts):
    """Write metrics_stage_N.json: a column a key, the facts of the run, all intervals.

    scores, intervals  column name -> metrics.score's and metrics.intervals' dictionaries
    """
    interval_facts = {"per_cent": metrics.LEVEL, "resamples": metrics.RESAMPLES}
    interval_facts |= keyed(intervals)
    files.save_json(path, keyed(scores) | run_facts | {"intervals": interval_facts})


def keyed(columns):
    """Columns by name, "stage 1", as metrics_stage_N.json has them: "stage_1"."""
    return {name.replace(" ", "_"): column for name, column in columns.items()}


def seen_facts(dataset):
    """Entry of metrics_stage_N.json where test images were trained on, else {}.

    It is {"seen_in_training": number of test rows}.
    """
    return {"seen_in_training": dataset.seen_in_training} if dataset.seen_in_training else {}


def finish_detected(path, by_coco, dataset, run_facts):
    """Write metrics_stage_N.json and print COCO's scores of test rows that are detections.

    Detections have no labels, so there is nothing else to score them by.
    """
    write_scores(path, {}, {}, run_facts | seen_facts(dataset))
    print_tables(coco_results.score_tables(by_coco, dataset), len(dataset.test_rows))


def print_tables(score_tables, row_count):
    """Print the tables, which are of so many test rows."""
    print(f"{row_count} test rows, one a person; all scores as fractions\n")
    for table in score_tables:
        print(text_tables.text(table) + "\n")


def save_poses(folder, stage, joints, confidence):
    """Write test_output_S.npy and test_confidence_S.npy.

    joints, confidence  (N, J, 2) px and (N, J)
    """
    arrays.save(folder / f"test_output_{stage}.npy", joints.reshape(len(joints), -1))
    arrays.save(folder / f"test_confidence_{stage}.npy", confidence.astype(np.float32))


def draw_training(folder):
    """Write curves_stage_1.png where stage 1 was trained here; returns caption -> path."""
    curves_path = folder / "curves_stage_1.csv"
    picture = folder / "curves_stage_1.png"
    if not curves_path.exists():
        return {}
    with lock(folder, "curves_stage_1", wait=True):  # the other test step draws it too
        training_plots.stage_1_training(
            picture, csv_files.load_numbers(curves_path, training_plots.STAGE_1_CURVES)
        )
    return {"Training of stage 1": picture}


def write_report(dataset, poses, confidence, score_tables, pictures, run):
    """Write report.html: the tables, the pictures, and every test row with the stages' poses.

    poses, confidence  stage's name -> (N, J, 2) px and (N, J)
    """
    # the page's two headings
    stage_count = f"{len(poses)} stages" if len(poses) > 1 else "stage 1"
    row_count = len(dataset.test_rows)
    subtitle = f"{row_count} test rows from {dataset.folder.resolve()}; {run}"
    if dataset.seen_in_training:
        subtitle += f"; {tables.seen_note(dataset.seen_in_training, row_count)}"
    true = dataset.test_labels  # (N, J, 2) px of the frame
    units = dataset.skeleton.units_px(true.astype(float), dataset.sizes("test"))  # (N,) px
    with lock(dataset.folder, "report", wait=True):  # the other test step writes it too
        report.write(
            dataset.folder / "report.html",
            f"DeepPose: {stage_count} on the test images",
            subtitle,
            score_tables,
            pictures,
            dataset.test_images,
            _image_names(dataset),
            keyed(poses) | {"true": true},
            dataset.skeleton,
            units,
            keyed(confidence),
        )


def _image_names(dataset):
    """Name of each test row in the report, such as "test row 3, image 1004 of LSP"."""
    set_names = dataset.facts.get("sets", {})
    identities = zip(dataset.column("test", "set"), dataset.column("test", "image"))
    image_names = []
    for row, (set_number, image) in enumerate(identities):
        set_name = set_names.get(f"{set_number:.0f}", f"set {set_number:.0f}")
        image_names.append(f"test row {row}, image {image:.0f} of {set_name}")
    return image_names
