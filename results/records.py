"""The records of scored rows, and what a row, a stage and a training are called in the tables."""

import json

from deeppose.workdir import SHARED
from results import paths
from results.rows import ROWS

STAGES = ("stage_1", "stage_2", "stage_3")


def load_all():
    """Contents of all records of scored rows, titled as in ROWS and in their order, full runs
    first."""
    row_order = list(ROWS)
    contents = [json.loads(path.read_text()) for path in paths.records()]
    sizes = {result["size"] for result in contents}
    results = []
    for content in contents:
        title = ROWS[content["row"]].title
        # the size only where there are several
        if len(sizes) > 1:
            title += f" ({content['size']})"
        results.append(content | {"title": title})
    return sorted(
        results, key=lambda result: (result["size"] != "full", row_order.index(result["row"]))
    )


def stages_of(test_scores):
    """The stages that a record has test scores of, in their order."""
    return [stage for stage in STAGES if stage in test_scores]


def row_title(result):
    """Name of a run in the tables: its recipe, how long stage 1 was trained, on how large images,
    and from where."""
    if ROWS[result["row"]].model:  # its training is told in docs/accuracy.md
        return result["title"]
    training = f"{result['epochs']} epochs at {result['input_px']} px"
    return f"{result['title']}, {training}, {weights_title(result['row'])}"


def weights_title(row_name):
    """Name of a row's initial weights in the tables."""
    weights = ROWS[row_name].weights
    titles = {"none": "random weights", "part": "ImageNet in part", "imagenet": "ImageNet"}
    return titles.get(weights, f"from the model of row {weights}")


def stage_title(result, stage):
    """A stage's row in the tables: the run's, the stage, and how many crops its refiners saw."""
    crops = crop_counts(result).get(stage)
    title = f"{row_title(result)}: **{stage.replace('_', ' ')}**"
    return f"{title}, {crops}" if crops else title


def training_length(result):
    """Epochs, rows and input of stage 1, and crops of the refiners, as text."""
    text = f"{result['epochs']} × {result['rows']:,} rows at {result['input_px']} px"
    for stage, crops in crop_counts(result).items():
        text += f"; {stage.replace('_', ' ')} {crops}"
    return text


def crop_counts(result):
    """Crops that the refiners saw, by stage, as text such as "7,200 to 14,400 crops a joint"."""
    texts = {}
    if ROWS[result["row"]].model:
        return texts  # its refiners went on from others, as docs/accuracy.md tells
    for stage, refiners in result["cascade"].items():
        # a crop for each real and each simulated estimate of a row in an epoch
        counts = {
            refiner_name: refiner["epochs"] * refiner["rows"] * (refiner["simulated"] + 1)
            for refiner_name, refiner in refiners.items()
        }
        if SHARED in counts:
            texts[stage] = f"{counts[SHARED]:,} crops of all joints"
            continue
        fewest = f"{min(counts.values()):,}"
        most = f"{max(counts.values()):,}"
        span = fewest if fewest == most else f"{fewest} to {most}"
        texts[stage] = f"{span} crops a joint"
    return texts
