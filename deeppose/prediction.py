"""A trained model of all stages, and the poses that it finds in photographs."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeppose import (
    cascade,
    downloads,
    files,
    geometry,
    inference,
    networks,
    photos,
    runtime,
    workdir,
)
from deeppose.loader import Frames
from deeppose.refiners import load_refiners
from deeppose.stage_1 import Stage_1, check_flip_test
from deeppose.two_pass import KEY, look_until_settled

# entries of model_1.json that photo_pose.json repeats
PROVENANCE_KEYS = ("epoch", "initial_weights", "seed", "gain", "held_out_loss")


@dataclass(frozen=True)
class Model:
    """The networks of a working directory, and how they look at a photograph.

    refiners    stage -> [(refiners.Refiner, numbers of the joints that it refines)]
    provenance  what photo_pose.json says of the networks
    two_pass    whether it looks again where the box around the pose that it found is another view
    flip_test   whether stage 1 is the mean over what is seen and its mirror image
    """

    stage_1: Stage_1
    refiners: dict
    run: runtime.Runtime
    provenance: dict
    two_pass: bool = False
    flip_test: bool = False

    @property
    def skeleton(self):
        return self.stage_1.skeleton

    @property
    def stages(self):
        """Names of its stages: "stage_1", and those of the cascade."""
        return ("stage_1", *(f"stage_{stage}" for stage in self.refiners))

    @property
    def white(self):
        """The 16-bit value that is white."""
        return self.stage_1.depth_white or downloads.WHITE


def load(
    folder=None,
    device="auto",
    precision="auto",
    compiled=False,
    two_pass=None,
    flip_test=False,
):
    """The Model of a working directory: stage 1, and the refiners that are there (17 MB each;
    direct heads 0.23 GB).

    folder     None: the current one where it has a model_1.pt, else workdir.SHIPPED
    two_pass   see Model (None: as model_1.json says)
    flip_test  see Model; InputError where the skeleton does not tell left from right
    """
    folder = workdir.with_model() if folder is None else Path(folder)
    run = runtime.choose(argparse.Namespace(device=device, precision=precision, compile=compiled))
    # stage 1
    stage_1, stage_1_provenance = networks.load(folder, run)
    check_flip_test(flip_test, stage_1.skeleton)
    inference.prepare(stage_1.network, run.precision)
    provenance = {"model_1.pt": _repeated(stage_1_provenance)}
    # the refiners of each later stage
    refiners = {}
    for stage in workdir.stages_here(folder, stage_1.skeleton):
        refiners[stage] = list(load_refiners(folder, stage_1.skeleton, run, stage))
        for refiner, _ in refiners[stage]:
            inference.prepare(refiner.network, run.precision)
            path = workdir.refiner_path(folder, refiner.name, stage)
            refiner_provenance = files.load_json(path.with_suffix(".json"), workdir.STEP_5)
            provenance[path.name] = _repeated(refiner_provenance)
    if two_pass is None:
        two_pass = stage_1_provenance.get(KEY) is True
    provenance |= {"workdir": str(folder.resolve()), "run": run.facts()}
    return Model(stage_1, refiners, run, provenance, two_pass, flip_test)


def _repeated(provenance):
    """The entries of a network's .json that photo_pose.json repeats."""
    return {key: provenance[key] for key in PROVENANCE_KEYS if key in provenance}


@dataclass(frozen=True)
class Cutout:
    """A photograph's P people, cut out for stage 1.

    photo    a photos.Photo
    regions  (P, 4) px of the photograph
    frames   uint8 (P, h, w, 3), which show the regions
    """

    photo: photos.Photo
    regions: np.ndarray
    frames: np.ndarray


def cut_out(model, photograph, people):
    """The Cutout of a photograph; see photos.read_people."""
    stage_1 = model.stage_1
    return Cutout(
        *photos.read_people(photograph, people, stage_1.frame, stage_1.margin, model.white)
    )


def predict_cutouts(model, cutouts):
    """Poses of the people of each Cutout, a list as predict.predict returns it."""
    if not cutouts:
        return []
    # stage 1, of all people at once
    frames = np.concatenate([cutout.frames for cutout in cutouts])
    regions = np.concatenate([cutout.regions for cutout in cutouts])
    joints, confidence = _predict_stage_1(model, frames)
    if model.two_pass:
        photo_of_each = [cutout.photo for cutout in cutouts for _ in cutout.regions]
        regions, frames, joints, confidence = _look_again(
            model, photo_of_each, regions, frames, joints, confidence
        )
    # the cascade
    poses, confidences = _refine(model, regions, frames, joints, confidence)
    # deal the people back to their photographs
    by_photograph = []
    start = 0
    for cutout in cutouts:
        people = slice(start, start + len(cutout.regions))
        start = people.stop
        corners = regions[people, :2]
        boxes = np.concatenate([corners, corners + regions[people, 2:]], 1)  # x0, y0, x1, y1
        by_photograph.append(
            {"stage_2": None}
            | {stage: joints[people] for stage, joints in poses.items()}
            | {
                "confidence": {stage: sure[people] for stage, sure in confidences.items()},
                "boxes": boxes,
            }
        )
    return by_photograph


def estimate(model, regions, frames):
    """Poses of N people from their frames uint8 (N, h, w, 3), which show regions (N, 4) px of the
    photographs.

    Returns stage -> joints (N, J, 2) px of the photographs, and stage -> confidence (N, J).
    """
    joints, confidence = _predict_stage_1(model, frames)
    return _refine(model, regions, frames, joints, confidence)


def _predict_stage_1(model, frames):
    """Stage 1's joints (N, J, 2) px of the frames, and confidence (N, J)."""
    rows = np.arange(len(frames))
    frames = Frames(frames, model.run.device)
    return model.stage_1.predict(frames, rows, model.run, flip_test=model.flip_test)


def _look_again(model, photo_of_each, regions, frames, joints, confidence):
    """Look again at the N people who fill too little or too much of their frames, cut anew.

    photo_of_each       each person's photos.Photo, a list
    joints, confidence  stage 1's (N, J, 2) px of the frames, and (N, J)
    Returns             regions, frames, joints and confidence of each person's last look
    """
    frames = frames.copy()
    frame_size = model.stage_1.frame

    def look(people, boxes_px):
        # cut from the photograph, which has more pixels than the first frame
        for person, box_px in zip(people, boxes_px):
            frames[person] = photos.cut_frame(photo_of_each[person], box_px, frame_size)
        new_joints, new_confidence = _predict_stage_1(model, frames[people])
        new_joints = geometry.frame_to_image(new_joints.astype(float), boxes_px, frame_size)
        return new_joints, new_confidence

    in_photographs = geometry.frame_to_image(joints.astype(float), regions, frame_size)
    in_photographs, confidence, regions = look_until_settled(
        look, in_photographs, confidence, regions, model.stage_1.margin
    )
    joints_px = geometry.image_to_frame(in_photographs, regions, frame_size)
    return regions, frames, joints_px.astype(joints.dtype), confidence


def _refine(model, regions, frames, joints, confidence):
    """Poses of all stages as `estimate` returns them, from stage 1's.

    joints, confidence  stage 1's (N, J, 2) px of the frames, and (N, J)
    """
    rows = np.arange(len(frames))
    frames = Frames(frames, model.run.device)
    in_frames = {"stage_1": joints}
    confidences = {"stage_1": confidence}
    # each stage starts from the one before it
    for stage, refiners in model.refiners.items():
        joints, confidence, _ = cascade.refine(
            refiners, frames, rows, joints, confidence, model.skeleton, model.run
        )
        in_frames[f"stage_{stage}"] = joints
        confidences[f"stage_{stage}"] = confidence
    frame_size = model.stage_1.frame
    in_photographs = {
        stage: geometry.frame_to_image(joints.astype(float), regions, frame_size)
        for stage, joints in in_frames.items()
    }
    return in_photographs, confidences
