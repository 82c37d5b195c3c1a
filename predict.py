"""The pose of the people in any photograph, drawn over it and as numbers.

Reads   model_1.pt, and what is there of model_<joint>.pt, model_shared.pt and model_3_<joint>.pt,
        each with its .json, from --workdir, or else the current folder, or else models/lsp
Writes  for each photo.jpg, beside it or in --output:
        photo_pose.png, the skeleton over the photograph
        photo_pose.json, joint -> x, y in pixels of the photograph, upright as viewers show it
Run     python predict.py photo.jpg [more.png ... | folder]
        python predict.py --page (in a browser instead, which writes nothing)

From Python, "stage_2" being joints (P, J, 2) px of the photograph's P people:

        from predict import load, predict
        people, = predict(load("."), ["photo.jpg"])
        people["stage_2"]
"""

import argparse
import io
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deeppose import (
    boxes,
    cascade,
    downloads,
    drawing,
    files,
    geometry,
    inference,
    networks,
    page,
    photos,
    run_flags,
    runtime,
    shell,
    two_pass,
    workdir,
)
from deeppose.loader import Frames
from deeppose.shell import InputError
from deeppose.stage_1 import Stage_1

AT_ONCE = 32  # photographs read before the networks see them
# entries of model_1.json that photo_pose.json repeats
PROVENANCE_KEYS = ("epoch", "initial_weights", "seed", "gain", "held_out_loss")


@dataclass(frozen=True)
class Model:
    """What predict takes: the networks of a working directory.

    refiners  stage -> [(cascade.Refiner, the joints that it refines)]
    twice     whether it looks again where what is around the pose that it found is another view
    """

    stage_1: Stage_1
    refiners: dict
    run: runtime.Runtime
    provenance: dict
    twice: bool = False

    @property
    def skeleton(self):
        return self.stage_1.skeleton

    @property
    def stages(self):
        """Their names: "stage_1", and those of the cascade."""
        return ("stage_1", *(f"stage_{stage}" for stage in self.refiners))

    @property
    def white(self):
        """The 16-bit value that is white."""
        return self.stage_1.depth_white or downloads.WHITE


def load(folder=None, device="auto", precision="auto", compiled=False, twice=None):
    """The Model of a working directory: stage 1, and the refiners that are there (17 MB each;
    direct heads 0.23 GB).

    folder  None: the current one where it has a model_1.pt, else workdir.SHIPPED
    twice   see Model (None: as model_1.json says)
    """
    folder = workdir.with_model() if folder is None else Path(folder)
    run = runtime.choose(argparse.Namespace(device=device, precision=precision, compile=compiled))
    stage_1, facts = networks.load(folder, run)
    inference.prepare(stage_1.network, run.precision)
    provenance = {"model_1.pt": _provenance(facts)}
    refiners = {}
    for stage in workdir.stages_here(folder, stage_1.skeleton):
        refiners[stage] = list(cascade.load_refiners(folder, stage_1.skeleton, run, stage))
        for refiner, _ in refiners[stage]:
            inference.prepare(refiner.network, run.precision)
            path = workdir.refiner_path(folder, refiner.name, stage)
            provenance[path.name] = _provenance(
                files.load_json(path.with_suffix(".json"), workdir.STEP_5)
            )
    provenance |= {"workdir": str(folder.resolve()), "run": run.facts()}
    twice = facts.get(two_pass.KEY) is True if twice is None else twice
    return Model(stage_1, refiners, run, provenance | {"two_pass": twice}, twice)


def _provenance(facts):
    return {key: facts[key] for key in PROVENANCE_KEYS if key in facts}


def estimate(model, regions, frames):
    """Poses of N people from their frames uint8 (N, h, w, 3), which show regions (N, 4) px of the
    photographs.

    Returns stage -> joints (N, J, 2) px of the photographs, and stage -> confidence (N, J).
    """
    return refine(model, regions, frames, *_see(model, frames))


def _see(model, frames):
    """Stage 1's joints (N, J, 2) px of the frames, and confidence (N, J)."""
    rows = np.arange(len(frames))
    return model.stage_1.predict(Frames(frames, model.run.device), rows, model.run)


def refine(model, regions, frames, joints, sure):
    """What `estimate` returns, from stage 1's joints (N, J, 2) px of the frames and confidence."""
    rows = np.arange(len(frames))
    frames = Frames(frames, model.run.device)
    poses = {"stage_1": joints}
    confidence = {"stage_1": sure}
    for stage, refiners in model.refiners.items():
        joints, sure, _ = cascade.refine(
            refiners, frames, rows, joints, sure, model.skeleton, model.run
        )
        poses[f"stage_{stage}"] = joints
        confidence[f"stage_{stage}"] = sure
    frame = model.stage_1.frame
    poses = {
        name: geometry.frame_to_image(pose.astype(float), regions, frame)
        for name, pose in poses.items()
    }
    return poses, confidence


def predict(model, photographs, people=None):
    """Poses in photographs: a list, for each {"stage_1": (P, J, 2) px, "boxes": (P, 4),
    "confidence": ...}.

    "stage_2" (None where the model has no refiner) and "stage_3" (where it has some) are as
    "stage_1"; "confidence" is stage -> (P, J), in [0, 1]; "boxes" is what was seen of the P people,
    x0, y0, x1, y1.

    model        what load returns
    photographs  paths, Pillow images or arrays (H, W, 3) uint8
    people       for each photograph its P people's boxes, x0, y0, x1, y1, or None: it is one
                 person's as a whole
    Raises InputError, which names it, for a photograph that cannot be read.
    """
    people = [None] * len(photographs) if people is None else people
    pairs = zip(photographs, people, strict=True)
    return _by_photograph(model, [_read(model, *pair)[1:] for pair in pairs])


def _read(model, photograph, people):
    """The Photo, what cuts further frames from it, and its people's regions and frames: see
    photos.read_people."""
    seen = model.stage_1
    photo, regions, frames = photos.read_people(
        photograph, people, seen.frame, seen.margin, model.white
    )
    return photo, partial(photos.show, photo, frame=seen.frame), regions, frames


def look_again(model, cutters, regions, frames, joints, sure):
    """Look again at the N people who fill too little or too much of their frames, cut anew.

    cutters       for each person the function that cuts the frame of a region
    joints, sure  what stage 1 found in the frames
    Returns       regions, frames, joints and sure of each person's last look
    """
    frames = frames.copy()
    size = model.stage_1.frame

    def look(people, boxes_px):
        frames[people] = np.stack([cutters[n](box) for n, box in zip(people, boxes_px)])
        found, confidence = _see(model, frames[people])
        return geometry.frame_to_image(found.astype(float), boxes_px, size), confidence

    in_photographs = geometry.frame_to_image(joints.astype(float), regions, size)
    in_photographs, sure, regions = two_pass.look_until_settled(
        look, in_photographs, sure, regions, model.stage_1.margin
    )
    joints = geometry.image_to_frame(in_photographs, regions, size).astype(joints.dtype)
    return regions, frames, joints, sure


def _by_photograph(model, pieces):
    """Poses for each of a list of (cutter, regions, frames)."""
    if not pieces:
        return []
    frames = np.concatenate([frames for *_, frames in pieces])
    regions = np.concatenate([regions for _, regions, _ in pieces])
    joints, sure = _see(model, frames)
    if model.twice:
        cutters = [cutter for cutter, own, _ in pieces for _ in own]
        regions, frames, joints, sure = look_again(model, cutters, regions, frames, joints, sure)
    poses, confidence = refine(model, regions, frames, joints, sure)
    found = []
    start = 0
    for _, people, _ in pieces:
        own = slice(start, start + len(people))
        start += len(people)
        seen = np.concatenate([regions[own, :2], regions[own, :2] + regions[own, 2:]], 1)
        found.append(
            {"stage_2": None}
            | {name: pose[own] for name, pose in poses.items()}
            | {"confidence": {name: sure[own] for name, sure in confidence.items()}, "boxes": seen}
        )
    return found


def refined_count(refiners):
    """How many joints a stage's refiners move; those of gain 0 keep their estimate."""
    return sum(refiner.gain(joint) > 0 for refiner, joints in refiners for joint in joints)


def describe(source, photo, found, model):
    """The content of photo_pose.json: each person's joints by name."""
    joints = model.skeleton.joints
    people = []
    for person, box in enumerate(found["boxes"]):
        entry = {"box": box.tolist()}
        for stage in dict.fromkeys(("stage_1", "stage_2", *model.stages)):
            pose = found[stage]
            entry[stage] = (
                None if pose is None else dict(zip(joints, pose[person].round(3).tolist()))
            )
        sure = found["confidence"][model.stages[-1]][person]
        entry["confidence"] = dict(zip(joints, sure.astype(float).round(3).tolist()))
        people.append(entry)
    return {
        "photograph": str(source),
        "width": photo.size[0],
        "height": photo.size[1],
        "skeleton": model.skeleton.name,
        "people": people,
        "model": model.provenance,
    }


def write(path, source, photo, found, model):
    """Write the picture, photo_pose.png, and the numbers beside it, which say that the picture is
    one."""
    files.save_json(path.with_suffix(".json"), describe(source, photo, found, model))
    last = model.stages[-1]
    drawing.photograph(
        path, photo.image, found[last] / photo.factor, model.skeleton, found["confidence"][last]
    )


def answer(model, photograph, people, name):
    """The page's answer for a photograph's bytes: {"pose": as in photo_pose.json, "confidence":
    stage -> (P, J)}."""
    photo, *piece = _read(model, io.BytesIO(photograph), people)
    (found,) = _by_photograph(model, [piece])
    confidence = {
        stage: sure.astype(float).round(3).tolist() for stage, sure in found["confidence"].items()
    }
    return {"pose": describe(name, photo, found, model), "confidence": confidence}


def run_all(model, paths, people, pictures):
    """Read, predict and write everything, AT_ONCE photographs at a time.

    Returns how many could not be read.
    """
    failed = 0
    with tqdm(
        total=len(paths), unit=" photographs", disable=None if len(paths) > 1 else True
    ) as bar:
        for start in range(0, len(paths), AT_ONCE):
            ready = []
            for job in list(zip(paths, people, pictures))[start : start + AT_ONCE]:
                try:
                    ready.append((job, *_read(model, *job[:2])))
                except InputError as error:
                    if len(paths) == 1:
                        raise
                    failed += 1
                    bar.write(f"predict.py: {error}", file=sys.stderr)
            poses = _by_photograph(model, [piece for _, _, *piece in ready])
            for ((path, _, picture), photo, *_), found in zip(ready, poses):
                write(picture, path, photo, found, model)
            bar.update(len(paths[start : start + AT_ONCE]))
    return failed


def parse(argv):
    """The command line: see --help."""
    parser = run_flags.parser(
        __doc__, workdir=None, shown="the current one, or models/lsp where that has no model"
    )
    parser.add_argument(
        "photographs",
        nargs="*",
        type=Path,
        metavar="PHOTO",
        help="a photograph, or a folder of them",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write; made if missing (default: beside each photograph)",
    )
    parser.add_argument(
        "--box",
        type=boxes.box,
        action="append",
        metavar="X0,Y0,X1,Y1",
        help="a person in the one photograph, in its pixels; again for another "
        "(default: one person, the whole photograph)",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE",
        help='JSON with the people of many: {"photo.jpg": [[x0, y0, x1, y1], ...], ...}',
    )
    parser.add_argument(
        "--two-pass",
        action=argparse.BooleanOptionalAction,
        help="look again, at what is around the pose found at first, at people who are small in what "
        "is seen (default: as the model's model_1.json says)",
    )
    page.add_arguments(parser)
    argv = list(sys.argv[1:] if argv is None else argv)
    for n in reversed([n for n, word in enumerate(argv[:-1]) if word == "--box"]):
        # argparse takes a box that begins with a minus sign for a flag
        argv[n : n + 2] = [f"--box={argv[n + 1]}"]
    options = parser.parse_args(argv)
    if bool(options.photographs) == options.page:
        parser.error("a PHOTO is needed, or --page, which takes them in a browser")
    if options.page and (options.box or options.boxes or options.output):
        parser.error(
            "--box, --boxes and --output are not for --page, where boxes are drawn and files saved by hand"
        )
    return options


@shell.command
def main(argv=None):
    options = parse(argv)
    if options.page:
        model = load(
            options.workdir, options.device, options.precision, options.compile, options.two_pass
        )
        return page.serve(
            options.address,
            options.port,
            model.skeleton,
            model.stages,
            partial(answer, model),
            model.white,
        )
    # find the photographs and the people in them
    paths = photos.find(options.photographs)
    if options.box and (len(paths) > 1 or options.boxes):
        raise InputError(
            f"--box is for one photograph and without --boxes, not for {len(paths)}; --boxes is for many"
        )
    people = [options.box] if options.box else [None] * len(paths)
    if options.boxes:
        people = boxes.read(options.boxes, paths)
    model = load(
        options.workdir, options.device, options.precision, options.compile, options.two_pass
    )
    # say which model it is
    refined = [
        f"stage {stage} for {refined_count(refiners)} of {model.skeleton.joint_count} joints"
        for stage, refiners in model.refiners.items()
    ]
    stages = ", ".join(["stage 1", *(refined or ["no stage 2"])])
    looks = "looking again where people are small, " if model.twice else ""
    print(f"{model.run}; {stages}, {looks}of {model.provenance['workdir']}")
    # predict, draw and write
    if options.output:
        files.make_folder(options.output, "--output names one")
    pictures = photos.outputs(paths, options.output)
    failed = run_all(model, paths, people, pictures)
    if failed:
        raise InputError(
            f"{failed} of {len(paths)} photographs could not be read (see above); the others are done"
        )
    for picture in pictures[:3]:
        print(
            f"{picture} and {picture.stem}.json"
            + (" ..." if len(pictures) > 3 and picture is pictures[2] else "")
        )


if __name__ == "__main__":
    sys.exit(main())
