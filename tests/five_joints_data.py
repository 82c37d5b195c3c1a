"""Step 1 for a made-up data set: pictures of two dolls of five joints, in frames not square."""

import sys
from functools import partial

import numpy as np
from PIL import Image, ImageDraw

from deeppose import framing, geometry, shell
from deeppose.people import Job, Row
from deeppose.skeleton import Skeleton

DOLL = Skeleton(
    name="doll",
    joints=("hat", "left_hand", "right_hand", "belt", "feet"),
    bones=(("hat", "belt"), ("left_hand", "belt"), ("right_hand", "belt"), ("belt", "feet")),
)
SHAPE = np.array([[0, -0.5], [0.4, -0.1], [-0.4, -0.1], [0, 0.1], [0, 0.5]])  # (J, 2), heights
COLOURS = ("white", "blue", "red", "yellow", "lime")
LAYOUT = framing.Layout(DOLL, frame=(96, 128), margin=1.25, set_names={1: "dolls"})
CENTRES = np.array([[70, 90], [170, 90]])  # (P, 2) px
NUMBERS = {"train": range(1, 13), "test": range(101, 105)}  # every fourth of training is held out


def draw_picture(path, rng):
    """Write a picture; returns its people's joints (P, J, 2) px."""
    image = Image.new("RGB", (240, 180), (60, 70, 80))
    heights = rng.uniform(70, 100, (2, 1, 1))
    people = CENTRES[:, None] + heights * SHAPE + rng.uniform(-8, 8, (2, 5, 2))
    for (x, y), colour in zip(people.reshape(-1, 2), 2 * COLOURS):
        ImageDraw.Draw(image).ellipse((x - 4.5, y - 4.5, x + 3.5, y + 3.5), fill=colour)
    image.save(path, "PNG")
    return people


def plan(options):
    """A Job a picture; both people, and of those that are trained on a mirrored copy."""
    jobs = []
    for part, number in [(name, number) for name in NUMBERS for number in NUMBERS[name]]:
        path = options.source / f"{number}.png"
        held_out = part == "train" and number % 4 == 1
        rows = []
        people = draw_picture(path, np.random.default_rng((options.seed, number)))
        for person, joints in enumerate(people, 1):
            box = geometry.scale_box(geometry.joints_box(joints), 1.2)
            box = geometry.to_aspect(box, LAYOUT.frame)
            for mirrored in (False, True)[: 1 + (part == "train" and not held_out)]:
                rows.append(Row(joints, box, person, mirrored, 20.0, box[2] * box[3]))
        opener = partial(open, path, "rb")
        jobs.append(Job(part, 1, number, path.name, str(path), opener, tuple(rows), held_out))
    return jobs


@shell.command
def main(argv=None):
    shell.add_source_arguments(parser := shell.parser(__doc__), "the first N pictures")
    options = parser.parse_args(argv)
    framing.prepare(options, plan(options), LAYOUT, {}, {}, options.source)


if __name__ == "__main__":
    sys.exit(main())
