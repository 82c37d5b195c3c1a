"""The pose of the people in any photograph, drawn over it and as numbers.

Reads   model_1.pt  model_1.json  model_<joint>.pt  model_3_<joint>.pt (those that are there) from --workdir
Writes  photo_pose.png (the skeleton over the photograph) and photo_pose.json (joint -> x, y in pixels of the
        photograph, upright as viewers show it) for each photo.jpg, beside it or in --output
Run     python predict.py photo.jpg [more.png ... | folder]

From Python, "stage_2" being joints (P, J, 2) px of the photograph's P people:

        from predict import load, predict
        people, = predict(load("."), ["photo.jpg"])
        people["stage_2"]
"""
import argparse
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from Cascade_1_net import load_cascade, refine_joint, stages_here
from deeppose import boxes, drawing, files, geometry, photos, runtime, shell
from deeppose.framing import FRAME_PX
from deeppose.loader import Frames
from deeppose.predictions import model_name
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton, find_skeleton
from Resnet_stage_1 import STEP_2, load_stage_1, predict_joints

AT_ONCE = 32  # photographs read before the networks see them
TOLD = ("epoch", "initial_weights", "seed", "gain", "held_out_loss")  # of a model's .json, in photo_pose.json


@dataclass(frozen=True)
class Model:
    """What predict takes: the networks of a working directory."""
    skeleton: Skeleton
    run: runtime.Runtime
    stage_1: torch.nn.Module | None = None
    refiners: dict | None = None    # stage -> joint name -> its network, of those joints that have one
    provenance: dict | None = None
    frame_px: int = FRAME_PX
    frame_box = np.array([0.0, 0.0, FRAME_PX])  # the whole frame (3,) px


def load(workdir=".", device="auto", precision="auto", compiled=False):
    """The Model of a working directory: stage 1, and the refiners that are there (17 MB each; direct heads 0.23 GB)."""
    workdir = Path(workdir)
    facts = files.load_json(workdir / "model_1.json", "Train_stage_1.py (step 2)")
    skeleton = find_skeleton(facts.get("skeleton"))
    if skeleton is None:
        raise InputError(f"{workdir / 'model_1.json'}: names no skeleton that is known; {STEP_2}")
    options = argparse.Namespace(device=device, precision=precision, compile=compiled)
    model = Model(skeleton, runtime.choose(options))
    stage_1, provenance = load_stage_1(workdir, model, model.run), {"model_1.pt": _told(facts)}
    refiners = {stage: {} for stage in stages_here(workdir, model.skeleton)}
    for stage, name in itertools.product(refiners, model.skeleton.joints):
        if (network := load_cascade(workdir, name, model.run, stage)) is not None:
            refiners[stage][name], path = network, workdir / f"{model_name(name, stage)}.json"
            provenance[f"{path.stem}.pt"] = _told(files.load_json(path, "the training")) if path.exists() else {}
    return replace(model, stage_1=stage_1, refiners=refiners,
                   provenance=provenance | {"workdir": str(workdir.resolve()), "run": model.run.facts()})


def _told(facts):
    return {key: facts[key] for key in TOLD if key in facts}


def estimate(model, squares, frames):
    """Poses of N people from their frames uint8 (N, 227, 227, 3): {"stage_1": (N, J, 2) px of the photographs, ...}.

    "stage_2" is None where the model has no refiner, "stage_3" is there where it has some; a joint without one keeps
    its estimate.
    """
    rows, frames = np.arange(len(frames)), Frames(frames, model.run.device)
    joints = predict_joints(model.stage_1, frames, rows, model, model.run)
    poses = {"stage_1": joints, "stage_2": None}
    for stage, networks in model.refiners.items():
        before, sides, joints = joints, geometry.box_sides(joints, model.skeleton), joints.copy()
        for name, network in networks.items():
            joint = model.skeleton.index(name)
            joints[:, joint] = refine_joint(network, frames, rows, before[:, joint], sides, model.run)
        poses[f"stage_{stage}"] = joints
    return {name: None if joints is None else geometry.frame_to_image(joints.astype(float), squares, model.frame_px)
            for name, joints in poses.items()}


def predict(model, photographs, people=None):
    """Poses in photographs: a list, for each {"stage_1": (P, J, 2) px, "stage_2": the same or None, "squares": (P, 3)}.

    "stage_3" is there where the model has one.

    model        what load returns
    photographs  paths, Pillow images or arrays (H, W, 3) uint8
    people       for each photograph its P people's boxes, x0, y0, x1, y1, or None: it is one person's as a whole
    Raises InputError, which names it, for a photograph that cannot be read.
    """
    people = [None] * len(photographs) if people is None else people
    return _by_photograph(model, [photos.read_people(*pair)[1:] for pair in zip(photographs, people, strict=True)])


def _by_photograph(model, pieces):
    """Poses for each of a list of (squares, frames)."""
    if not pieces:
        return []
    poses = estimate(model, *(np.concatenate(parts) for parts in zip(*pieces)))
    ends = np.cumsum([len(squares) for squares, _ in pieces])
    return [{name: None if joints is None else joints[end - len(squares):end] for name, joints in poses.items()}
            | {"squares": squares} for end, (squares, _) in zip(ends, pieces)]


def write(path, source, photo, found, model):
    """Write the picture, photo_pose.png, and the numbers beside it, which say that the picture is one."""
    stages = [name for name in found if name != "squares"]
    last = [found[stage] for stage in stages if found[stage] is not None][-1]
    people = [{"square": square.tolist()} for square in found["squares"]]
    for stage in stages:
        for person, joints in zip(people, [None] * len(people) if found[stage] is None else found[stage]):
            person[stage] = None if joints is None else dict(zip(model.skeleton.joints, joints.round(3).tolist()))
    files.save_json(path.with_suffix(".json"), {
        "photograph": str(source), "width": photo.size[0], "height": photo.size[1],
        "skeleton": model.skeleton.name, "people": people, "model": model.provenance})
    drawing.photograph(path, photo.image, last / photo.factor, model.skeleton)


def run_all(model, paths, people, pictures):
    """Read, predict and write everything, AT_ONCE photographs at a time; returns how many could not be read."""
    failed = 0
    with tqdm(total=len(paths), unit=" photographs", disable=None if len(paths) > 1 else True) as bar:
        for start in range(0, len(paths), AT_ONCE):
            ready = []
            for job in list(zip(paths, people, pictures))[start:start + AT_ONCE]:
                try:
                    ready.append((job, *photos.read_people(*job[:2])))
                except InputError as error:
                    if len(paths) == 1:
                        raise
                    failed += 1
                    bar.write(f"predict.py: {error}", file=sys.stderr)
            poses = _by_photograph(model, [piece for _, _, *piece in ready])
            for ((path, _, picture), photo, *_), found in zip(ready, poses):
                write(picture, path, photo, found, model)
            bar.update(len(paths[start:start + AT_ONCE]))
    return failed


def parse(argv):
    """The command line: see --help."""
    parser = runtime.parser(__doc__)
    parser.add_argument("photographs", nargs="+", type=Path, metavar="PHOTO", help="a photograph, or a folder of them")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="where to write; made if missing (default: beside each photograph)")
    parser.add_argument("--box", type=boxes.box, action="append", metavar="X0,Y0,X1,Y1",
                        help="a person in the one photograph, in its pixels; again for another "
                             "(default: one person, the whole photograph)")
    parser.add_argument("--boxes", type=Path, metavar="FILE",
                        help='JSON with the people of many: {"photo.jpg": [[x0, y0, x1, y1], ...], ...}')
    argv = list(sys.argv[1:] if argv is None else argv)
    for n in reversed([n for n, word in enumerate(argv[:-1]) if word == "--box"]):
        argv[n:n + 2] = [f"--box={argv[n + 1]}"]  # a box may begin with a minus sign, which argparse takes for a flag
    return parser.parse_args(argv)


@shell.command
def main(argv=None):
    options = parse(argv)
    paths = photos.find(options.photographs)
    if options.box and (len(paths) > 1 or options.boxes):
        raise InputError(f"--box is for one photograph and without --boxes, not for {len(paths)}; --boxes is for many")
    people = [options.box] if options.box else [None] * len(paths)
    if options.boxes:
        people = boxes.read(options.boxes, paths)
    model = load(options.workdir, options.device, options.precision, options.compile)
    refined = [f"stage {stage} for {len(networks)} of {model.skeleton.joint_count} joints"
               for stage, networks in model.refiners.items()]
    print(f"{model.run}; stage 1, {', '.join(refined) or 'no stage 2'}")
    if options.output:
        files.make_folder(options.output, "--output names one")
    pictures = photos.outputs(paths, options.output)
    failed = run_all(model, paths, people, pictures)
    if failed:
        raise InputError(f"{failed} of {len(paths)} photographs could not be read (see above); the others are done")
    for picture in pictures[:3]:
        print(f"{picture} and {picture.stem}.json" + (" ..." if len(pictures) > 3 and picture is pictures[2] else ""))


if __name__ == "__main__":
    sys.exit(main())
