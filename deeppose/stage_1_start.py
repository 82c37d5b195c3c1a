"""Stage 1 before its first step: its network, its initial weights, its settings and provenance."""

from deeppose import arrays, leakage, networks, pretrained, runtime
from deeppose.shell import InputError
from deeppose.stage_1 import Stage_1


def build(dataset, options, run):
    """The Stage_1 to be trained, with random weights.

    Raises InputError where --input-px is more than the images have.
    """
    view_size = dataset.view_box[2:]
    if options.input_px > max(view_size):
        raise InputError(
            f"--input-px {options.input_px}: the images have only {max(view_size):g} pixels a side"
        )
    runtime.seed_torch(options.seed, "initial weights")
    network = networks.build(options.network, dataset.skeleton.joint_count, options.recipe.options)
    return Stage_1(
        run.place(network),
        options.network,
        dataset.skeleton,
        dataset.frame,
        dataset.margin,
        networks.input_size(view_size, options.input_px, options.recipe.stretch),
        dataset.depth_white,
    )


def load_initial_weights(model, options):
    """Load what --weights names into a Stage_1's network; returns entries of model_1.json that tell
    where they come from."""
    initial = pretrained.load_initial(model.network, options.weights, model.skeleton)
    about = {"initial_weights": initial}
    if (former := pretrained.find_model(options.weights)) is not None:
        about["ancestors"] = leakage.ancestors(former)
    return about


def settings(dataset, rows, options, run):
    """Entries of model_1.json in which an unfinished run may not differ when it is resumed."""
    weights = options.weights
    if (former := pretrained.find_model(weights)) is not None:
        weights = f"model {arrays.digest(former)}"  # wherever it lies, and not a later one there
    return {
        "network": options.network,
        "rows": len(rows),
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "seed": options.seed,
        "weights": weights,
        "precision": run.precision,
        "input_px": options.input_px,
        "recipe": vars(options.recipe),
        "dataset": dataset.digests,
    }


def provenance(model, dataset, rows, options):
    """Entries of model_1.json from which the model is built again, and what it learnt from.

    rows  numbers of the training rows
    """
    return model.described() | {
        "options": options.recipe.options,
        "seed": options.seed,
        "trained_on": leakage.describe(dataset.identities("train")[rows]),
        "sets": dataset.facts.get("sets", {}),
    }
