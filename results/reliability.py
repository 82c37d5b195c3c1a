"""Judge a model's confidence: how often held-out joints are right, by how sure it was of them.

Reads   a working directory after step 2: model_1.pt  model_1.json  train_*.npy  dataset.json
Run     python -m results.reliability --workdir FOLDER
"""

import sys

import numpy as np

from deeppose import networks, run_flags, runtime, shell
from deeppose.dataset import open_dataset
from deeppose.loader import Frames

EDGES = (0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1)  # of the confidence
NEAR = 0.2  # units within which a joint is right


def reliability(confidence, errors):
    """Rows (low, high, joints, mean confidence, share within NEAR) for each span of EDGES that has
    joints.

    confidence, errors  (K,), of joints; errors in the skeleton's units, NaN without a label
    """
    known = ~np.isnan(errors) & ~np.isnan(confidence)
    confidence = confidence[known]
    right = errors[known] <= NEAR
    # the span (K,) that each joint's confidence lies in
    spans = np.searchsorted(EDGES, confidence, "right") - 1
    spans = np.clip(spans, 0, len(EDGES) - 2)
    rows = []
    for span in np.unique(spans):
        inside = spans == span
        rows.append(
            (
                EDGES[span],
                EDGES[span + 1],
                int(inside.sum()),
                float(confidence[inside].mean()),
                float(right[inside].mean()),
            )
        )
    return rows


@shell.command
def main(argv=None):
    options = run_flags.parser(__doc__).parse_args(argv)
    dataset = open_dataset(options.workdir)
    run = runtime.choose(options)
    model, _ = networks.load(options.workdir, run, dataset)
    # predict the held-out rows
    frames = Frames(dataset.train_images, run.device)
    joints, confidence = model.predict(frames, dataset.held_out, run)
    # their errors in the skeleton's units
    true = dataset.train_labels[dataset.held_out].astype(float)
    units = dataset.skeleton.units_px(true, dataset.sizes("train", dataset.held_out))  # (N,) px
    errors = np.linalg.norm(joints - true, axis=2) / units[:, None]
    print(
        f"{len(true)} held-out rows; a joint is right within {NEAR} {dataset.skeleton.unit_name}\n"
    )
    print("| confidence | joints | mean confidence | right |\n|---|---|---|---|")
    for low, high, count, mean_confidence, right in reliability(confidence.ravel(), errors.ravel()):
        print(f"| {low:g} to {high:g} | {count:,} | {mean_confidence:.2f} | {right:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
