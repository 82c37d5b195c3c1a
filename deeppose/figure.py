"""One posed person as a picture with exact joints: what deeppose.sample renders its sets from.

A three-dimensional skeleton is posed and seen from some side (posing.py), dressed (clothes.py), and
drawn as capsules with smooth edges on a blurred background (canvas.py). Lengths are in body heights
until the figure is placed.
"""

import numpy as np

from deeppose import canvas, posing
from deeppose.clothes import choose_look
from deeppose.skeletons import LSP

JOINT = {joint_name: joint for joint, joint_name in enumerate(LSP.joints)}
MIN_LABELLED = 6
HIDDEN_GAP = 0.14  # a body part hides a joint that lies this far behind it (body heights)
# capsules of the face: ends, radius, tone
FACE = (
    ("right_eye", "right_eye", 0.009, 0.12),
    ("left_eye", "left_eye", 0.009, 0.12),
    ("nose", "nose", 0.011, 0.8),
    ("right_lip", "left_lip", 0.006, 0.5),
)
# from, to, radii, cloth, the bone's place in a sleeve or leg (0, 1), how much nearer it is drawn
LIMBS = (
    ("hip", "knee", (0.054, 0.038), "trousers", 0, 0.02),
    ("knee", "ankle", (0.037, 0.023), "trousers", 1, 0.01),
    ("ankle", "toe", (0.026, 0.021), "shoes", 0, 0.025),
    ("shoulder", "elbow", (0.036, 0.027), "shirt", 0, 0.04),
    ("elbow", "wrist", (0.026, 0.019), "shirt", 1, 0.045),
    ("wrist", "hand", (0.02, 0.024), "skin", 0, 0.05),
)


def render_person(rng, wide=False):
    """One image of one person: tight around it like LSP, or wide like LSP extended.

    Returns the image (H, W, 3) uint8, the joints (14, 2) float64 in pixels (x, y; pixel i covers
    [i, i + 1), so joints can lie outside a wide image) and hidden (14,) bool, which tells the
    joints inside the image that are covered by an object or by a nearer part of the body.
    """
    # pose a body
    points = posing.pose_body(rng)
    body = np.array([points[joint_name] for joint_name in LSP.joints])  # (14, 3) body heights
    # place it in a frame
    top_left = body[:, :2].min(0)
    extent = np.ptp(body[:, :2], axis=0)
    choose_frame = posing.frame_wide if wide else posing.frame_tight
    frame_size, corner, longer_side_px = choose_frame(rng, extent)
    scale = longer_side_px / frame_size.max()  # px a body height
    width, height = np.rint(frame_size * scale).astype(int)
    shift = (corner - top_left) * scale
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
    # find which joints are covered
    hidden = find_hidden(owner, parts, joints, body[:, 2])
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), joints, hidden


def inside(joints, width, height):
    """Whether each of the joints (N, 2) px lies inside the image, (N,) bool."""
    return ((joints >= 0) & (joints < (width, height))).all(axis=1)


def body_parts(points, look):
    """The parts of a body, farthest first, in body heights."""
    # the trunk: five capsules side by side, each of shirt above and trousers below the waist
    shoulders = np.linspace(points["right_shoulder"], points["left_shoulder"], 5)  # (5, 3)
    hips = np.linspace(points["right_hip"], points["left_hip"], 5)  # (5, 3)
    waist = shoulders + 0.88 * (hips - shoulders)
    girth = look["girth"]
    trunk_joints = ("right_hip", "left_hip", "right_shoulder", "left_shoulder", "neck")
    depth = (shoulders + hips)[:, 2].mean() / 2
    shirt = [(top, 0.04 * girth, end, 0.048 * girth) for top, end in zip(shoulders, waist)]
    trousers = [(top, 0.05 * girth, end, 0.053 * girth) for top, end in zip(waist, hips)]
    parts = [
        make_part(shirt, look["shirt"], trunk_joints, depth),
        make_part(trousers, look["trousers"], trunk_joints[:2], depth - 1e-4),
    ]
    # the limbs and the head
    for side in ("right", "left"):
        for start, end, radii, cloth, bone_number, nearer in LIMBS:
            joint_names = (f"{side}_{start}", f"{side}_{end}")
            # what a sleeve leaves over when it has covered the bones before this one
            clothed_share = look["cover"].get(cloth, 1) - bone_number
            parts += limb_parts(points, look, joint_names, radii, cloth, clothed_share, nearer)
    return sorted(parts + head_parts(points, look), key=lambda part: -part[0])


def limb_parts(points, look, joint_names, radii, cloth, clothed_share, nearer):
    """The parts of one bone of a limb, clothed over a share of its length from the start.

    joint_names  of its two ends
    radii        at its two ends, body heights
    cloth        key of its colour in `look`
    nearer       how much nearer than its joints it is drawn, body heights
    """
    start = points[joint_names[0]]
    end = points[joint_names[1]]
    start_radius, end_radius = np.array(radii) * look["girth"]
    depth = (start + end)[2] / 2 - nearer
    # all of it in cloth or in skin
    bone = [(start, start_radius, end, end_radius)]
    colour = look[cloth if clothed_share >= 1 else "skin"]
    parts = [make_part(bone, colour, joint_names, depth)]
    # on the skin a sleeve that ends on the way, a little wider and nearer
    if 0 < clothed_share < 1:
        cuff = start + clothed_share * (end - start)
        cuff_radius = start_radius + clothed_share * (end_radius - start_radius) + 0.005
        sleeve = [(start, start_radius + 0.004, cuff, cuff_radius)]
        parts.append(make_part(sleeve, look[cloth], joint_names[:1], depth - 1e-4))
    return parts


def head_parts(points, look):
    """Neck, face and hair; eyes, nose and mouth only where the camera sees the face."""
    jaw = points["jaw"]
    brow = points["brow"]
    crown = points["crown"]
    hair = [(crown, 0.061, crown, 0.061)]
    if look["long_hair"]:
        hair.append((crown, 0.058, points["nape"], 0.05))
    skin = look["skin"]
    joint_names = ("head", "neck")
    parts = [
        make_part([(points["chest"], 0.03, jaw, 0.03)], skin, joint_names[1:]),
        make_part([(jaw, 0.042, brow, 0.054)], skin, joint_names, brow[2]),
        make_part(hair, look["hair"], joint_names, crown[2] + 0.008),
    ]
    for start_name, end_name, radius, tone in FACE:
        start = points[start_name]
        end = points[end_name]
        if (start + end)[2] / 2 < brow[2] - 0.012:  # on the camera's side of the head
            line = (start, radius, end, radius)
            parts.append(make_part([line], tone * skin, joint_names, brow[2] - 0.01))
    return parts


def make_part(lines, colour, joint_names=(), depth=None):
    """A part as draw_figure takes it: (depth, joints' numbers, capsules (P, 6), colour).

    lines        [(start (3,), radius, end (3,), radius)] in body heights, P of them
    joint_names  those that belong to it and so are not hidden by it; others than LSP's may be among
                 them
    depth        how far it lies; None for the mean of the lines
    """
    capsules = []
    depths = []
    for start, start_radius, end, end_radius in lines:
        capsules.append((*start[:2], start_radius, *end[:2], end_radius))
        depths.append((start[2] + end[2]) / 2)
    mean_depth = np.mean(depths)
    if depth is None:
        depth = mean_depth
    shade = np.clip(1 - 0.7 * mean_depth, 0.75, 1.1)  # the far side is darker
    own_joints = {JOINT[joint_name] for joint_name in joint_names if joint_name in JOINT}
    return depth, own_joints, np.array(capsules), colour * shade


def draw_figure(image, parts, scale, shift):
    """Draw the parts, farthest first; returns the owner map (H, W): 1 + index of the part, 0 none.

    A point p of the body, in body heights, falls on pixel coordinate scale * p + shift.
    """
    owner = np.zeros(image.shape[:2], np.uint8)
    for mark, (_, _, capsules, colour) in enumerate(parts, start=1):
        capsules_px = capsules * scale
        capsules_px[:, :2] += shift
        capsules_px[:, 3:5] += shift
        canvas.draw_part(image, owner, mark, capsules_px, colour)
    return owner


def find_hidden(owner, parts, joints, depths):
    """Whether an object or another part covers each joint inside the image, (14,) bool.

    owner   (H, W) as draw_figure returns it, with canvas.OBJECT where an object is
    joints  (14, 2) px
    depths  (14,), body heights
    """
    height, width = owner.shape
    hidden = np.zeros(len(joints), bool)
    # look at the pixel of each joint
    for joint, (x, y) in enumerate(np.floor(joints).astype(int)):
        if not (0 <= y < height and 0 <= x < width) or not owner[y, x]:
            continue
        if owner[y, x] == canvas.OBJECT:
            hidden[joint] = True  # an object is in front of everything
        else:
            part_depth, own_joints = parts[owner[y, x] - 1][:2]
            is_behind = depths[joint] - part_depth > HIDDEN_GAP
            hidden[joint] = joint not in own_joints and is_behind
    return hidden
