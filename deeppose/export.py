"""Write a trained model as one ONNX file: frames in, joints and confidence of every stage out.

Reads   model_1.pt  model_<joint>.pt  model_shared.pt  model_3_<joint>.pt (those that are there),
        each with its .json, from --workdir
Writes  OUT.onnx (opset 18); its metadata say what it is and where it came from. docs/deploy.md runs
        it
Run     python -m deeppose.export --workdir FOLDER OUT.onnx
"""

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from deeppose import (
    arrays,
    cascade,
    checkpoint,
    crops,
    files,
    geometry,
    networks,
    run_flags,
    runtime,
    shell,
    workdir,
)
from deeppose.refiners import load_refiners
from deeppose.shell import InputError

# the lowest that torch's exporter writes; ONNX Runtime has read it since 1.14
OPSET = 18
EXTRAS = ("onnx", "onnxscript")  # packages that torch's exporter needs
LARGEST_BYTES = 1.5e9  # of weights: what torch still writes into one file; protobuf ends at 2 GB
# entries of a model's provenance that go into the exported file
PROVENANCE_KEYS = ("epoch", "initial_weights", "seed", "gain", "held_out_loss", "settings", "run")


class Pose(nn.Module):
    """Module from frames to the joints and confidence of every stage.

    stage_1   a stage_1.Stage_1
    refiners  number of each later stage -> list of (refiner, its joints), as refiners.load_refiners
              yields them
    """

    def __init__(self, stage_1, refiners):
        super().__init__()
        self.stage_1 = stage_1
        self.refiners = refiners
        # torch exports the weights of the networks that the module holds as its own
        self.networks = nn.ModuleList([stage_1.network])
        for stage_refiners in refiners.values():
            self.networks.extend(refiner.network for refiner, _ in stage_refiners)

    @property
    def output_names(self):
        """Names of forward's outputs, in order."""
        names = []
        for stage in (1, *self.refiners):
            names += [f"joints_{stage}", f"confidence_{stage}"]
        return names

    def forward(self, frames):
        """Joints (n, J, 2) px of the frame and confidence (n, J), stage after stage, as one tuple.

        frames  uint8 (n, h, w, 3), RGB
        """
        images = crops.to_float(frames)  # (n, 3, h, w)

        def predict(network, boxes_px, asked_joints):
            """Offsets and confidence of a refiner, for cascade.refine_by."""
            return cascade.offsets_in(images, network, boxes_px, asked_joints)

        # stage 1, whose joints are in view boxes
        output = self.stage_1.network(self.stage_1.view(images))
        view_box = torch.tensor(self.stage_1.view_box, dtype=torch.float32)
        joints = geometry.denormalise(output.joints, view_box)
        confidence = output.confidence
        outputs = [joints, confidence]
        # the stages that refine them
        for stage_refiners in self.refiners.values():
            joints, confidence, _ = cascade.refine_by(
                predict, stage_refiners, joints, confidence, self.stage_1.skeleton
            )
            outputs += [joints, confidence]
        return tuple(outputs)


def load(options):
    """The Pose of the models that the command line names, and file name -> entries of the metadata
    about each model.

    Raises InputError where it is too large for a file.
    """
    # stage 1
    run = runtime.Runtime(torch.device("cpu"), "fp32")
    model_path = workdir.model_path(options)
    stage_1, provenance = networks.load_file(model_path, run)
    model_entries = {model_path.name: describe(model_path, provenance)}
    # refiners, as long as all fit into a file
    refiners = {}
    folder = workdir.refiners_from(options.workdir, stage_1.skeleton, options.model)
    weight_bytes = checkpoint.size(stage_1.network)
    for stage in workdir.stages_here(folder, stage_1.skeleton):
        refiners[stage] = []
        for refiner, joints in load_refiners(folder, stage_1.skeleton, run, stage):
            weight_bytes += checkpoint.size(refiner.network)
            check_size(weight_bytes, folder)
            refiners[stage].append((refiner, joints))
            path = workdir.refiner_path(folder, refiner.name, stage)
            provenance = files.load_json(path.with_suffix(".json"), workdir.STEP_5)
            model_entries[path.name] = describe(path, provenance)
    return Pose(stage_1, refiners), model_entries


def describe(path, provenance):
    """Entries of the metadata about one model: the digest of its weights, and its provenance."""
    kept = {key: provenance[key] for key in PROVENANCE_KEYS if key in provenance}
    return {"digest": arrays.digest(path)} | kept


def check_size(weight_bytes, folder):
    """Raise InputError where weights of so many bytes do not go into one file."""
    if weight_bytes > LARGEST_BYTES:
        raise InputError(
            f"{folder}: its models have more than {LARGEST_BYTES / 1e9:.1f} GB of weights, too many for "
            "one .onnx; train integral heads or one refiner for all joints (--refiner shared, step 5)"
        )


def check_extras():
    """Raise InputError where the packages that torch's exporter needs are missing."""
    missing = [package for package in EXTRAS if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)}: not installed; python -m pip install -r requirements-export.txt"
        )


def metadata(model, model_entries):
    """Entries of the file about itself, name -> JSON.

    model_entries  file name -> entries about that model, as `describe` gives them
    """
    stage_1 = model.stage_1
    entries = {
        "frame": stage_1.frame,
        "margin": stage_1.margin,
        "joints": stage_1.skeleton.joints,
        "stages": [1, *model.refiners],
        "skeleton": stage_1.skeleton.described(),
        "models": model_entries,
        "versions": {
            "torch": str(torch.__version__),
            "onnx": importlib.metadata.version("onnx"),
            "onnxscript": importlib.metadata.version("onnxscript"),
        },
    }
    return {name: json.dumps(value) for name, value in entries.items()}


def write(path, model, model_entries):
    """Write the Pose as one ONNX file, whole or not at all."""
    # trace the model with two images, since of one torch would take the 1 for a fixed size
    width, height = model.stage_1.frame
    example_frames = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # they are about torch's and onnxscript's own code
        program = torch.onnx.export(
            model.eval(),
            (example_frames,),
            input_names=["frames"],
            output_names=model.output_names,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    # torch fixes the size silently where it cannot keep it open
    if isinstance(program.model.graph.inputs[0].shape[0], int):
        raise InputError(
            f"{path}: is not written: a network computes with the number of images, {model.stage_1.name} "
            "or the refiner; let it take any"
        )
    # write it with its metadata
    program.model.metadata_props.update(metadata(model, model_entries))
    with files.replacing(path) as temporary:
        program.save(temporary, external_data=False)


def parse(argv):
    """The command line: see --help."""
    parser = shell.Parser(
        prog="python -m deeppose.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--workdir", type=Path, default=Path("."), help="folder of the models (default: .)"
    )
    run_flags.add_model_argument(parser)
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="file to be written")
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    # check what can be checked before the models are read
    options = parse(argv)
    if options.out.suffix.lower() != ".onnx" or options.out.is_dir():
        raise InputError(
            f"{options.out}: is no name for the file to be written; let it end in .onnx"
        )
    check_extras()
    # read the models and write the file
    model, model_entries = load(options)
    files.make_folder(options.out.resolve().parent, "name another OUT.onnx")
    write(options.out, model, model_entries)
    width, height = model.stage_1.frame
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, opset {OPSET}")
    print(f"  frames: uint8 (n, {height}, {width}, 3), RGB -> {', '.join(model.output_names)}")


if __name__ == "__main__":
    sys.exit(main())
