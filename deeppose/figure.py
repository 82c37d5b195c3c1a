"""One posed person as a picture with exact joints: what deeppose.sample renders its sets from.

A three-dimensional skeleton is posed and seen from some side (posing.py), dressed, and drawn as
capsules with smooth edges on a blurred background (canvas.py). Lengths are in body heights until
the figure is placed.
"""

import colorsys

import numpy as np

from deeppose import canvas, posing
from deeppose.skeletons import LSP

JOINT = {name: i for i, name in enumerate(LSP.joints)}
MIN_LABELLED = 6
HIDDEN_GAP = 0.14  # a body part hides a joint that lies this far behind it (body heights)
# capsules of the face: ends, radius, tone
FACE = (
    ("right_eye", "right_eye", 0.009, 0.12),
    ("left_eye", "left_eye", 0.009, 0.12),
    ("nose", "nose", 0.011, 0.8),
    ("right_lip", "left_lip", 0.006, 0.5),
)
# from, to, radii, cloth, its place in a sleeve or leg (0, 1), how much nearer it is drawn
LIMBS = (
    ("hip", "knee", (0.054, 0.038), "trousers", 0, 0.02),
    ("knee", "ankle", (0.037, 0.023), "trousers", 1, 0.01),
    ("ankle", "toe", (0.026, 0.021), "shoes", 0, 0.025),
    ("shoulder", "elbow", (0.036, 0.027), "shirt", 0, 0.04),
    ("elbow", "wrist", (0.026, 0.019), "shirt", 1, 0.045),
    ("wrist", "hand", (0.02, 0.024), "skin", 0, 0.05),
)
SKIN = np.array(
    [(250, 214, 184), (225, 172, 132), (186, 128, 90), (128, 82, 56), (84, 54, 40)], float
)
HAIR = np.array([(30, 22, 18), (70, 44, 26), (120, 78, 40), (214, 176, 104), (150, 60, 30)], float)


def choose_look(rng, ground):
    """Build, hair, skin and clothes: their colours (3,), 0 to 255.

    They stand out from the ground colour.
    """

    def draw_dye():
        """A strong colour, or black, grey or white."""
        strong = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1), rng.uniform(0.4, 1))
        if rng.random() < 0.75:
            return 255 * np.array(strong)
        return np.full(3, rng.choice((28.0, 70.0, 235.0)))

    def draw_skin():
        """A colour between two of SKIN that are next to each other."""
        tone = rng.uniform(0, len(SKIN) - 1)
        return np.array([np.interp(tone, range(len(SKIN)), channel) for channel in SKIN.T])

    def farthest(colours):
        """The one that differs most from the ground."""
        return max(colours, key=lambda colour: np.abs(colour - ground).sum())

    # of several draws the one that is seen best
    skin = farthest([draw_skin() for _ in range(3)])
    shirt = farthest([draw_dye() for _ in range(4)])
    trousers = farthest([draw_dye() for _ in range(4)])
    cover = {
        "shirt": rng.choice((0.0, 0.55, 2.0), p=(0.15, 0.5, 0.35)),  # bones clothed: 2 is long
        "trousers": rng.choice((0.6, 2.0), p=(0.4, 0.6)),
    }
    return {
        "skin": skin,
        "hair": HAIR[rng.integers(len(HAIR))],
        "shirt": shirt,
        "trousers": trousers,
        "shoes": farthest([draw_dye(), draw_dye()]),
        "cover": cover,
        "girth": rng.uniform(0.85, 1.25),
        "long_hair": rng.random() < 0.35,
    }


def make_part(lines, colour, joints=(), depth=None):
    """A part as draw_figure takes it: (depth, joints, pieces (P, 6), colour).

    lines   [(start (3,), radius, end (3,), radius)] in body heights, P of them
    joints  names of those that belong to it and so are not hidden by it; others than LSP's may be
            among them
    depth   how far it lies; None for the mean of the lines
    """
    pieces = []
    depths = []
    for start, start_radius, end, end_radius in lines:
        pieces.append((*start[:2], start_radius, *end[:2], end_radius))
        depths.append((start[2] + end[2]) / 2)
    mean_depth = np.mean(depths)
    if depth is None:
        depth = mean_depth
    shade = np.clip(1 - 0.7 * mean_depth, 0.75, 1.1)  # the far side is darker
    members = {JOINT[name] for name in joints if name in JOINT}
    return depth, members, np.array(pieces), colour * shade


def limb_parts(points, look, names, radii, cloth, share, nearer):
    """The parts of one bone of a limb, clothed over a share of its length from the start.

    names          of its two joints
    radii, nearer  body heights
    cloth          key of its colour in `look`
    """
    start = points[names[0]]
    end = points[names[1]]
    start_radius, end_radius = np.array(radii) * look["girth"]
    depth = (start + end)[2] / 2 - nearer
    # all of it in cloth or in skin
    bone = [(start, start_radius, end, end_radius)]
    parts = [make_part(bone, look[cloth if share >= 1 else "skin"], names, depth)]
    # on the skin a sleeve that ends on the way, a little wider and nearer
    if 0 < share < 1:
        cuff = start + share * (end - start)
        cuff_radius = start_radius + share * (end_radius - start_radius) + 0.005
        sleeve = [(start, start_radius + 0.004, cuff, cuff_radius)]
        parts.append(make_part(sleeve, look[cloth], names[:1], depth - 1e-4))
    return parts


def head_parts(points, look):
    """Neck, face and hair; eyes, nose and mouth only where the camera sees the face."""
    jaw, brow, crown, nape = (points[name] for name in ("jaw", "brow", "crown", "nape"))
    hair = [(crown, 0.061, crown, 0.061)]
    if look["long_hair"]:
        hair.append((crown, 0.058, nape, 0.05))
    skin = look["skin"]
    both = ("head", "neck")
    parts = [
        make_part([(points["chest"], 0.03, jaw, 0.03)], skin, both[1:]),
        make_part([(jaw, 0.042, brow, 0.054)], skin, both, brow[2]),
        make_part(hair, look["hair"], both, crown[2] + 0.008),
    ]
    for start_name, end_name, radius, tone in FACE:
        start = points[start_name]
        end = points[end_name]
        if (start + end)[2] / 2 < brow[2] - 0.012:  # on the camera's side of the head
            line = (start, radius, end, radius)
            parts.append(make_part([line], tone * skin, both, brow[2] - 0.01))
    return parts


def body_parts(points, look):
    """The parts of a body, farthest first, in body heights."""
    # the trunk: five capsules side by side, each of shirt above and trousers below the waist
    shoulders = np.linspace(points["right_shoulder"], points["left_shoulder"], 5)  # (5, 3)
    hips = np.linspace(points["right_hip"], points["left_hip"], 5)  # (5, 3)
    waist = shoulders + 0.88 * (hips - shoulders)
    girth = look["girth"]
    trunk = ("right_hip", "left_hip", "right_shoulder", "left_shoulder", "neck")
    depth = (shoulders + hips)[:, 2].mean() / 2
    shirt = [(top, 0.04 * girth, end, 0.048 * girth) for top, end in zip(shoulders, waist)]
    trousers = [(top, 0.05 * girth, end, 0.053 * girth) for top, end in zip(waist, hips)]
    parts = [
        make_part(shirt, look["shirt"], trunk, depth),
        make_part(trousers, look["trousers"], trunk[:2], depth - 1e-4),
    ]
    # the limbs and the head
    for side in ("right", "left"):
        for start, end, radii, cloth, bone, nearer in LIMBS:
            names = (f"{side}_{start}", f"{side}_{end}")
            share = look["cover"].get(cloth, 1) - bone
            parts += limb_parts(points, look, names, radii, cloth, share, nearer)
    return sorted(parts + head_parts(points, look), key=lambda part: -part[0])


def draw_figure(image, parts, scale, shift):
    """Draw the parts, farthest first; returns the owner map (H, W): 1 + index of the part, 0 none.

    A point p of the body, in body heights, falls on pixel coordinate scale * p + shift.
    """
    owner = np.zeros(image.shape[:2], np.uint8)
    for mark, (_, _, pieces, colour) in enumerate(parts, start=1):
        placed = pieces * scale
        placed[:, :2] += shift
        placed[:, 3:5] += shift
        canvas.draw_part(image, owner, mark, placed, colour)
    return owner


def find_hidden(owner, parts, joints, depths):
    """Whether an object or another part covers each joint inside the image, (14,) bool.

    owner   (H, W) as draw_figure returns it, with canvas.OBJECT where an object is
    joints  (14, 2) px
    depths  (14,), body heights
    """
    height, width = owner.shape
    hidden = np.zeros(len(joints), bool)
    for joint, (x, y) in enumerate(np.floor(joints).astype(int)):
        if not (0 <= y < height and 0 <= x < width) or not owner[y, x]:
            continue
        if owner[y, x] == canvas.OBJECT:
            hidden[joint] = True  # an object is in front of everything
        else:
            depth, members = parts[owner[y, x] - 1][:2]
            hidden[joint] = joint not in members and depths[joint] - depth > HIDDEN_GAP
    return hidden


def inside(joints, width, height):
    """Whether each of the joints (N, 2) px lies inside the image, (N,) bool."""
    return ((joints >= 0) & (joints < (width, height))).all(axis=1)


def render_person(rng, wide=False):
    """One image of one person: tight around it like LSP, or wide like LSP extended.

    Returns the image (H, W, 3) uint8, the joints (14, 2) float64 in pixels (x, y; pixel i covers
    [i, i + 1), so joints can lie outside a wide image) and hidden (14,) bool, which tells the
    joints inside the image that are covered by an object or by a nearer part of the body.
    """
    # pose a body
    points = posing.pose_body(rng)
    body = np.array([points[name] for name in LSP.joints])  # (14, 3) body heights
    # place it in a frame
    low = body[:, :2].min(0)
    extent = np.ptp(body[:, :2], axis=0)
    frame = posing.frame_wide if wide else posing.frame_tight
    size, corner, longest = frame(rng, extent)
    scale = longest / size.max()
    width, height = np.rint(size * scale).astype(int)
    shift = (corner - low) * scale
    joints = body[:, :2] * scale + shift
    if inside(joints, width, height).sum() < MIN_LABELLED:  # too few: to the centre with it
        shift = shift + (width / 2, height / 2) - (joints.min(0) + joints.max(0)) / 2
        joints = body[:, :2] * scale + shift
    # draw it, sometimes behind an object, and add the camera's noise
    image = canvas.draw_background(rng, width, height)
    look = choose_look(rng, image.mean(axis=(0, 1)))
    parts = body_parts(points, look)
    owner = draw_figure(image, parts, scale, shift)
    if rng.random() < 0.15:
        canvas.draw_object(rng, image, owner, joints)
    noise = rng.normal(0, rng.uniform(1, 6), image.shape[:2])  # (H, W)
    image += noise[..., None]
    # look which joints are covered
    hidden = find_hidden(owner, parts, joints, body[:, 2])
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), joints, hidden
