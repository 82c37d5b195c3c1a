"""Step 1 for the Kinect2 Human Pose Dataset: whole depth frames of one person, with 15 joints.

Reads   train_annos.txt, test_annos.txt and depth_data/depth_images/, as the set is downloaded
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
Run     python K2HPD_data.py --source data/K2HPD
"""

import sys
from functools import partial

from deeppose import downloads, framing, k2hpd, shell
from deeppose.framing import Layout
from deeppose.people import Job, Row
from deeppose.shell import InputError, command
from deeppose.skeleton import K2HPD

FRAME = (256, 212)  # of the depth images, half of Kinect 2's 512 x 424: nothing is cut
STRETCHES = 50  # of equal length, of the film that the training lines are
# every tenth stretch is held out: whole stretches, since a frame's neighbours are near copies of it
HELD_OUT_EVERY = 10
FIRST_HELD_OUT = 5
# mm, the range of Kinect 2: a 16-bit value v is shown as 255 v / 8000, at most 255
DEPTH_WHITE = 8000
MOST_NAMED = 10  # of tens of thousands of lines whose image may be missing
SET_NUMBER = 1
IMAGES = "depth_data/depth_images"
PAGE = "http://www.sysu-hcp.net/kinect2-human-pose-dataset-k2hpd/"


def read_lines(source, limit):
    """The images that both files list: part -> [(number, name, joints (15, 2) px)], in the order of
    the film."""
    listed = {}
    for part in ("train", "test"):
        path = source / f"{part}_annos.txt"
        if not path.is_file():
            raise InputError(f"{path}: not found; copy the set's files to {source}, from {PAGE}")
        names, joints = k2hpd.read_annotations(path)
        joints = joints[:, : K2HPD.joint_count]  # (N, 15, 2) px; the set labels 19
        listed[part] = [(int(name.split(".")[0]), name, own) for name, own in zip(names, joints)][
            :limit
        ]
    return listed


def is_held_out(place, count):
    """Whether a training image, by its place among all, lies in one of the stretches that are never
    trained on."""
    return place * STRETCHES // count % HELD_OUT_EVERY == FIRST_HELD_OUT


def plan(listed, openers, folder, left_out):
    """All images in the film's order, a row each: a list of Job.

    openers   name -> what opens the image
    left_out  (set number, image number) of those that cannot be used
    """
    jobs = []
    for part, lines in listed.items():
        usable = [line for line in lines if (SET_NUMBER, line[0]) not in left_out]
        for place, (number, name, joints) in enumerate(usable):
            held_out = part == "train" and is_held_out(place, len(usable))
            jobs.append(
                Job(
                    part,
                    SET_NUMBER,
                    number,
                    name,
                    str(folder / name),
                    openers.get(name),
                    (Row(place, joints),),
                    held_out,
                    FRAME,
                )
            )
    held_out = [job.held_out for job in jobs if job.part == "train"]
    if len(jobs) == len(held_out) or not any(held_out) or all(held_out):
        raise InputError(
            f"{folder}: too few images are left to train on, to hold out and to test on; "
            f"fetch the set from {PAGE}"
        )
    return jobs


def check_images(listed, openers, folder):
    """Lines whose image is missing: (set number, image number) -> a line that names the file."""
    return {
        (SET_NUMBER, number): f"{folder / name}: not found, but {part}_annos.txt has its joints"
        for part, lines in listed.items()
        for number, name, _ in lines
        if name not in openers
    }


def parse(argv):
    """The command line: see --help."""
    parser = shell.parser(__doc__)
    shell.add_source_arguments(parser, "the first N lines of either file")
    parser.add_argument(
        "--depth-white",
        type=shell.at_least(1, most=downloads.WHITE),
        default=DEPTH_WHITE,
        metavar="V",
        help="value of a 16-bit image that is shown white; all are shown in proportion (default: "
        f"{DEPTH_WHITE}, Kinect 2's range in millimetres)",
    )
    return parser.parse_args(argv)


@command
def main(argv=None):
    options = parse(argv)
    listed = read_lines(options.source, options.limit)
    folder = options.source / IMAGES
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not found; copy the set's depth_data to {options.source}, from {PAGE}"
        )
    openers = downloads.listing(folder)
    layout = Layout(
        K2HPD,
        FRAME,
        1.0,
        {SET_NUMBER: "K2HPD"},
        whole=True,
        depth_white=options.depth_white,
        most_named=MOST_NAMED,
    )
    framing.prepare(
        options,
        partial(plan, listed, openers, folder),
        layout,
        {"options": {"limit": options.limit}},
        check_images(listed, openers, folder),
        folder,
    )


if __name__ == "__main__":
    sys.exit(main())
