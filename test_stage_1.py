"""Step 3: score stage 1 on the test images, beside the mean pose as the floor and the published scores.

Reads   model_1.pt  model_1.json  test_images.npy  test_labels.npy  test_rows.npy  dataset.json
        and, if it is there, curves_stage_1.csv
Writes  test_output_1.npy  test_confidence_1.npy  metrics_stage_1.json  pdj_stage_1.png  poses_stage_1.png
        curves_stage_1.png  report.html (where there is no refiner yet)
Run     python test_stage_1.py
"""
import sys

import numpy as np

from deeppose import arrays, drawing, leakage, networks, plots, runtime, scoring, shell, tables, workdir
from deeppose.loader import Frames
from deeppose.locks import lock


def draw(folder, data, joints, confidence):
    """Write the pictures; returns caption -> path."""
    true = data.test_labels.astype(float)
    skeleton = data.skeleton
    sizes = data.sizes("test")
    pdj = folder / "pdj_stage_1.png"
    poses = folder / "poses_stage_1.png"
    mean_pose = np.broadcast_to(data.mean_pose, true.shape)
    plots.pdj_curves(pdj, {"mean pose": mean_pose, "stage 1": joints}, true, skeleton, sizes)
    drawing.contact_sheet(poses, data.test_images, {"stage 1": joints}, true, skeleton, sizes, {"stage 1": confidence})
    pictures = {"Detected joints (PDJ) over the threshold": pdj, "The best, middling and worst test images": poses}
    return pictures | scoring.draw_training(folder)


@shell.command
def main(argv=None):
    options = scoring.parser(__doc__).parse_args(argv)
    folder = options.workdir
    data = arrays.open_dataset(folder)
    run = runtime.choose(options)
    shell.until_end(lock(folder, "test_output_1"))
    model, _ = networks.load(options.model or folder, run, data)
    leakage.check_model((options.model or folder) / "model_1.pt", data)
    print(run)
    rows = np.arange(len(data.test_images))
    frames = Frames(data.test_images, run.device)
    joints, confidence = model.predict(frames, rows, run, "stage 1, test rows", options.flip_test, options.two_pass)
    scores, intervals = scoring.evaluate(folder, data, {"stage 1": joints}, options.threshold)
    scoring.save_poses(folder, 1, joints, confidence)
    pictures = draw(folder, data, joints, confidence)
    score_tables = tables.score_tables(scores, intervals, data.skeleton, len(rows), options.threshold,
                                       data.seen_in_training)
    if not workdir.stages_here(folder, data.skeleton):  # else it is step 6's, of all stages
        scoring.write_report(folder, data, {"stage 1": joints}, {"stage 1": confidence}, score_tables, pictures, run)
    scoring.write(folder / "metrics_stage_1.json", scores, intervals,
                  {"images": len(rows), "flip_test": options.flip_test, "two_pass": options.two_pass,
                   "models": workdir.model_digests(options.model or folder, data.skeleton), "run": run.facts()}
                  | scoring.seen_facts(data))
    scoring.show(score_tables, len(rows))
    print("pictures: " + "  ".join(map(str, pictures.values())))
    print(f"all of it, to look through: {folder / 'report.html'}"
          + (", when step 6 has written it anew" if workdir.stages_here(folder, data.skeleton) else ""))


if __name__ == "__main__":
    sys.exit(main())
