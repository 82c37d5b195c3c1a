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
from functools import partial
from pathlib import Path

from tqdm import tqdm

from deeppose import boxes, files, page, pose_files, run_flags, shell
from deeppose.prediction import cut_out, load, predict_cutouts
from deeppose.shell import InputError

AT_ONCE = 32  # photographs read before the networks see them


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
    cutouts = [cut_out(model, photograph, its_people) for photograph, its_people in pairs]
    return predict_cutouts(model, cutouts)


def answer(model, photograph, people, photo_name):
    """The page's answer for a photograph's bytes: {"pose": as in photo_pose.json, "confidence":
    stage -> (P, J)}."""
    cutout = cut_out(model, io.BytesIO(photograph), people)
    (poses,) = predict_cutouts(model, [cutout])
    confidence = {
        stage: by_person.astype(float).round(3).tolist()
        for stage, by_person in poses["confidence"].items()
    }
    pose = pose_files.describe(photo_name, cutout.photo, poses, model)
    return {"pose": pose, "confidence": confidence}


def run_all(model, paths, people, pictures):
    """Read, predict and write everything, AT_ONCE photographs at a time.

    people    for each photograph its people's boxes, or None
    pictures  for each photograph the path of its picture
    Returns   how many could not be read
    """
    jobs = list(zip(paths, people, pictures))
    failed = 0
    with tqdm(total=len(jobs), unit=" photographs", disable=None if len(jobs) > 1 else True) as bar:
        for start in range(0, len(jobs), AT_ONCE):
            batch = jobs[start : start + AT_ONCE]
            # read them, passing over what cannot be read
            readable = []
            cutouts = []
            for path, its_people, picture in batch:
                try:
                    cutouts.append(cut_out(model, path, its_people))
                    readable.append((path, picture))
                except InputError as error:
                    if len(jobs) == 1:
                        raise
                    failed += 1
                    bar.write(f"predict.py: {error}", file=sys.stderr)
            # predict, draw and write
            all_poses = predict_cutouts(model, cutouts)
            for (path, picture), cutout, poses in zip(readable, cutouts, all_poses):
                pose_files.write(picture, path, cutout.photo, poses, model)
            bar.update(len(batch))
    return failed


def print_model(model):
    """Print which model it is, for the person at the shell."""
    stages = ["stage 1"]
    for stage, refiners in model.refiners.items():
        # joints of gain 0 keep their estimate
        refined = sum(refiner.gain(joint) > 0 for refiner, joints in refiners for joint in joints)
        stages.append(f"stage {stage} for {refined} of {model.skeleton.joint_count} joints")
    if not model.refiners:
        stages.append("no stage 2")
    if model.two_pass:
        stages.append("looking again where people are small")
    if model.flip_test:
        stages.append("flip test")
    print(f"{model.run}; {', '.join(stages)}, of {model.provenance['workdir']}")


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
    boxes.add_arguments(parser)
    parser.add_argument(
        "--two-pass",
        action=argparse.BooleanOptionalAction,
        help="look again, at what is around the pose found at first, at people who are small in what "
        "is seen (default: as the model's model_1.json says)",
    )
    run_flags.add_flip_test_argument(parser)
    page.add_arguments(parser)
    argv = boxes.join_box_flags(sys.argv[1:] if argv is None else argv)
    options = parser.parse_args(argv)
    if bool(options.photographs) == options.page:
        parser.error("either PHOTOs are needed, or --page, which takes them in a browser")
    if options.page and (options.box or options.boxes or options.output):
        parser.error(
            "--box, --boxes and --output are not for --page, where boxes are drawn and files saved by hand"
        )
    return options


def serve_page(model, options):
    """Serve the page of --page until Ctrl-C."""
    pose = partial(answer, model)
    return page.serve(
        options.address, options.port, model.skeleton, model.stages, pose, model.white
    )


def find_people(options, paths):
    """The boxes of each photograph's people as --box or --boxes has them, or None."""
    if options.box and (len(paths) > 1 or options.boxes):
        raise InputError(
            f"--box is for one photograph and without --boxes, not for {len(paths)}; --boxes is for many"
        )
    if options.box:
        return [options.box]
    return boxes.read(options.boxes, paths) if options.boxes else [None] * len(paths)


@shell.command
def main(argv=None):
    options = parse(argv)
    # find the photographs, of which --page has none, and the people in them
    paths = pose_files.find(options.photographs)
    people = find_people(options, paths)
    model = load(
        options.workdir,
        options.device,
        options.precision,
        options.compile,
        options.two_pass,
        options.flip_test,
    )
    print_model(model)
    if options.page:
        return serve_page(model, options)
    # predict, draw and write
    if options.output:
        files.make_folder(options.output, "--output names one")
    pictures = pose_files.outputs(paths, options.output)
    failed = run_all(model, paths, people, pictures)
    if failed:
        raise InputError(
            f"{failed} of {len(paths)} photographs could not be read (see above); the others are done"
        )
    # name the first few of what was written
    for picture in pictures[:3]:
        print(
            f"{picture} and {picture.stem}.json"
            + (" ..." if len(pictures) > 3 and picture is pictures[2] else "")
        )


if __name__ == "__main__":
    sys.exit(main())
