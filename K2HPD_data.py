"""Step 1 for the Kinect2 Human Pose Dataset: whole depth frames of one person, with 15 joints.

Reads   train_annos.txt, test_annos.txt and depth_data/depth_images/, as the set is downloaded
Writes  train_images.npy  train_labels.npy  train_rows.npy  train_photographs.txt
        test_images.npy   test_labels.npy   test_rows.npy   test_photographs.txt   dataset.json
Run     python K2HPD_data.py --source data/K2HPD
"""

import sys

from deeppose import archives, downloads, framing, k2hpd, shell
from deeppose.framing import Layout
from deeppose.people import Job, Row, check_some_here
from deeppose.shell import InputError, command
from deeppose.skeletons import K2HPD

FRAME = (256, 212)  # of the depth images, half of Kinect 2's 512 x 424: nothing is cut
STRETCHES = 50  # of equal length, into which the film of the training lines is divided
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
    """The images that both files list, in the order of the film.

    limit    of the lines of either file; None for all
    Returns  "train" and "test" -> list of (image number, file name, joints (15, 2) px)
    """
    lines_of_part = {}
    for part in ("train", "test"):
        path = source / f"{part}_annos.txt"
        if not path.is_file():
            raise InputError(f"{path}: not found; copy the set's files to {source}, from {PAGE}")
        file_names, joints = k2hpd.read_annotations(path)
        joints = joints[:, : K2HPD.joint_count]  # (N, 15, 2) px; the set labels 19
        lines = []
        for file_name, joints_px in zip(file_names[:limit], joints):
            image_number = int(file_name.split(".")[0])
            lines.append((image_number, file_name, joints_px))
        lines_of_part[part] = lines
    return lines_of_part


def is_held_out(index, count):
    """Whether the training image of that index, of so many in the film's order, is held out: with
    the whole stretch that it is of."""
    stretch = index * STRETCHES // count
    return stretch % HELD_OUT_EVERY == FIRST_HELD_OUT


def plan(lines_of_part, openers, folder):
    """The images that are there, in the film's order, a row each: a list of Job.

    lines_of_part  what read_lines gives
    openers        file name -> what opens the image
    """
    jobs = []
    for part, lines in lines_of_part.items():
        for image_number, file_name, joints in lines:
            if file_name not in openers:
                continue
            jobs.append(
                Job(
                    part,
                    SET_NUMBER,
                    image_number,
                    file_name,
                    str(folder / file_name),
                    openers[file_name],
                    (Row(joints),),
                    size=FRAME,
                )
            )
    return jobs


def missing_images(lines_of_part, openers, folder):
    """Lines whose image is missing: (set number, image number) -> a line that names the file.

    Raises InputError where none is there.
    """
    missing = {}
    file_names = []
    for part, lines in lines_of_part.items():
        for image_number, file_name, _ in lines:
            file_names.append(file_name)
            if file_name not in openers:
                missing[SET_NUMBER, image_number] = (
                    f"{folder / file_name}: not found, but {part}_annos.txt has its joints"
                )
    advice = f"copy the set's images there, from {PAGE}"
    check_some_here(folder, file_names, missing, advice)
    return missing


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
    # the lines, and the folder of their images
    lines_of_part = read_lines(options.source, options.limit)
    folder = options.source / IMAGES
    if not folder.is_dir():
        raise InputError(
            f"{folder}: not found; copy the set's depth_data to {options.source}, from {PAGE}"
        )
    openers = archives.list_folder(folder)
    # whole frames of depth, shown in proportion to --depth-white
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
        plan(lines_of_part, openers, folder),
        layout,
        {"options": {"limit": options.limit}},
        missing_images(lines_of_part, openers, folder),
        folder,
        is_held_out,
    )


if __name__ == "__main__":
    sys.exit(main())
