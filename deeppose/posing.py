"""A random pose of a body in three dimensions, in body heights, and how it fills the image."""

import numpy as np

# Degrees, low and high of each: hip flexion of leg A and B, knee bend of A and B, leg spread,
# arm swing of A and B (forward positive), arm raise to the side, elbow bend, lean of the trunk.
# Which side of the person is A is drawn; the arms swing against the legs.
POSES = np.array(
    (
        # standing
        (-5, 15, -5, 15, 0, 15, 0, 15, 1, 16, -20, 35, -20, 35, 5, 40, 0, 90, -5, 8),
        # walking
        (10, 35, -30, -5, 0, 25, 10, 50, 0, 8, 10, 45, -40, 0, 3, 25, 5, 70, 0, 12),
        # running
        (30, 85, -35, 0, 40, 110, 15, 100, 0, 12, 20, 60, -60, -20, 5, 35, 60, 120, 5, 30),
        # arms up
        (-5, 25, -15, 15, 0, 40, 0, 20, 2, 25, -10, 40, -10, 40, 80, 170, 0, 90, -10, 10),
        # crouching
        (50, 115, 40, 110, 70, 135, 60, 135, 5, 40, 0, 80, 0, 80, 0, 50, 10, 90, 10, 50),
        # lunging, kicking
        (40, 100, -30, 10, 0, 90, 0, 40, 5, 50, 0, 90, -50, 40, 20, 110, 0, 80, 0, 35),
        # reaching
        (-10, 40, -10, 30, 0, 50, 0, 40, 2, 45, 30, 170, -30, 60, 0, 80, 0, 60, -10, 25),
    )
)
POSE_SHARES = (0.2, 0.16, 0.18, 0.16, 0.08, 0.1, 0.12)  # of the people, by pose
# points of the head, as offsets from the neck in body heights
HEAD = {
    "head": (0, -0.18, 0),
    "jaw": (0, -0.075, -0.012),
    "brow": (0, -0.11, -0.008),
    "crown": (0, -0.127, 0.014),
    "nape": (0, -0.08, 0.03),
    "nose": (0, -0.085, -0.066),
    "right_eye": (-0.023, -0.104, -0.056),
    "left_eye": (0.023, -0.104, -0.056),
    "right_lip": (-0.015, -0.06, -0.058),
    "left_lip": (0.015, -0.06, -0.058),
}


def rotation(axis, degrees):
    """The matrix (3, 3) of a rotation about axis 0 (x), 1 (y) or 2 (z)."""
    cos = np.cos(np.radians(degrees))
    sin = np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]  # the two axes that it turns
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = cos, -sin, sin, cos
    return matrix


def direction(side, swing, spread):
    """Unit vector (3,) of a limb that hangs down, swung forward and spread outward (degrees)."""
    swing, spread = np.radians((swing, spread))
    outward = side * np.sin(spread)
    downward = np.cos(spread) * np.cos(swing)
    backward = -np.cos(spread) * np.sin(swing)
    return np.array([outward, downward, backward])


def pose_body(rng):
    """A posed body as the camera sees it along +z: {point name: (3,)}, in body heights.

    Before the view is applied, x points to the person's own left, y down and z to its back, so a
    person that faces the camera has its left side at the image's right.
    """
    # the body's proportions, and the pose
    torso, shoulder, hip = rng.normal((0.29, 0.105, 0.062), (0.015, 0.008, 0.005))
    thigh, shin, upper, fore = rng.normal((0.245, 0.24, 0.17, 0.15), 0.01)
    angle_ranges = POSES[rng.choice(len(POSES), p=POSE_SHARES)]
    smallest = angle_ranges[0::2]
    largest = angle_ranges[1::2]
    angles = rng.uniform(smallest, largest, (2, 10))  # degrees, of the right and the left side
    lean = angles[0, -1]
    # trunk and head
    trunk = rotation(1, rng.normal(0, 12)) @ rotation(0, lean) @ rotation(2, rng.normal(0, 7))
    turn, nod, tilt = rng.normal((0, 4, 0), (20, 9, 7))
    skull = trunk @ rotation(1, turn) @ rotation(0, nod) @ rotation(2, tilt)
    points = {"chest": trunk @ (0, -torso, 0), "neck": trunk @ (0, -torso - 0.035, 0)}
    for point_name, offset in HEAD.items():
        points[point_name] = points["neck"] + skull @ offset
    # limbs, each joint from the one before it
    leg_a = rng.integers(2)
    for index, (side, side_name) in enumerate(((-1, "right"), (1, "left"))):
        hips, knees, (spread,), swings, (lift, elbow, _) = np.split(angles[index], (2, 4, 5, 7))
        leg = int(index != leg_a)  # 0: this side's leg is A
        flexion = hips[leg]
        bend = knees[leg]
        swing = swings[1 - leg] + lean  # the arm swings against the leg
        # the leg
        shin_direction = direction(side, flexion - bend, 0.7 * spread)
        foot_direction = direction(side, flexion - bend + 70, 0.7 * spread)
        start = points[f"{side_name}_hip"] = np.array([side * hip, 0, 0])
        start = points[f"{side_name}_knee"] = start + thigh * direction(side, flexion, spread)
        start = points[f"{side_name}_ankle"] = start + shin * shin_direction
        points[f"{side_name}_toe"] = start + 0.09 * foot_direction
        # the arm, whose elbow bends forward or to the side
        bend_direction = np.radians(rng.uniform(-50, 90))
        elbow_forward = elbow * np.cos(bend_direction)
        elbow_outward = elbow * np.sin(bend_direction)
        forearm = trunk @ direction(side, swing + elbow_forward, lift + elbow_outward)
        start = points[f"{side_name}_shoulder"] = trunk @ (side * shoulder, -torso, 0)
        start = points[f"{side_name}_elbow"] = start + upper * trunk @ direction(side, swing, lift)
        start = points[f"{side_name}_wrist"] = start + fore * forearm
        points[f"{side_name}_hand"] = start + 0.045 * forearm
    # the camera: mostly from the front, now and then upside down
    yaw = rng.choice((0, 180, 90, -90), p=(0.55, 0.2, 0.125, 0.125)) + rng.normal(0, 18)
    roll = rng.uniform(-180, 180) if rng.random() < 0.1 else rng.normal(0, 7)
    view = rotation(2, roll) @ rotation(0, rng.normal(6, 8)) @ rotation(1, yaw)
    return {point_name: view @ point for point_name, point in points.items()}


def frame_tight(rng, extent):
    """Image size (2,), corner of the joints' box (2,) and the image's longer side in px: like LSP.

    Size and corner are in the units of the box's extent (2,).
    """
    shares = rng.uniform((0.44, 0.66), (0.68, 0.86))  # of the image, along each axis
    size = np.clip(extent / shares, 1.12 * extent, 1.75 * extent.max())
    # no image is a mere strip
    size = np.maximum(size, 0.42 * size.max())
    corner = (size - extent) * rng.uniform(0.25, 0.75, 2)
    return size, corner, rng.uniform(110, 220)


def frame_wide(rng, extent):
    """As frame_tight, like LSP extended: further away, a third of the people past the border."""
    shares = rng.uniform((0.26, 0.34), (0.48, 0.56))  # of the image, along each axis
    size = extent / shares
    size = np.maximum(size, 0.55 * size.max())
    corner = (size - extent) * rng.uniform(0.1, 0.9, 2)
    # move some past one border
    if rng.random() < 0.33:
        axis = rng.integers(2)
        cut = rng.uniform(0.05, 0.4) * extent
        corner[axis] = -cut[axis] if rng.random() < 0.5 else (size - extent + cut)[axis]
    return size, corner, rng.uniform(150, 400)
