"""One posed person as a picture with exact joints: what deeppose.sample renders its sets from.

A three-dimensional skeleton is posed, seen from some side, dressed, and drawn as capsules with
smooth edges on a blurred background. Lengths are in body heights until the figure is placed.
"""
import colorsys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from deeppose.skeleton import LSP

JOINT = {name: i for i, name in enumerate(LSP.joints)}
MIN_LABELLED = 6
HIDDEN_GAP = 0.14  # a body part hides a joint that lies this far behind it (body heights)
OBJECT = 255       # mark of an object in front of the person, in the owner map

# Degrees, low and high of each: hip flexion of leg A and B, knee bend of A and B, leg spread,
# arm swing of A and B (forward positive), arm raise to the side, elbow bend, lean of the trunk.
# Which side of the person is A is drawn; the arms swing against the legs.
POSES = np.array((
    (-5, 15, -5, 15, 0, 15, 0, 15, 1, 16, -20, 35, -20, 35, 5, 40, 0, 90, -5, 8),           # stand
    (10, 35, -30, -5, 0, 25, 10, 50, 0, 8, 10, 45, -40, 0, 3, 25, 5, 70, 0, 12),            # walk
    (30, 85, -35, 0, 40, 110, 15, 100, 0, 12, 20, 60, -60, -20, 5, 35, 60, 120, 5, 30),     # run
    (-5, 25, -15, 15, 0, 40, 0, 20, 2, 25, -10, 40, -10, 40, 80, 170, 0, 90, -10, 10),      # arms up
    (50, 115, 40, 110, 70, 135, 60, 135, 5, 40, 0, 80, 0, 80, 0, 50, 10, 90, 10, 50),       # crouch
    (40, 100, -30, 10, 0, 90, 0, 40, 5, 50, 0, 90, -50, 40, 20, 110, 0, 80, 0, 35),         # lunge, kick
    (-10, 40, -10, 30, 0, 50, 0, 40, 2, 45, 30, 170, -30, 60, 0, 80, 0, 60, -10, 25)))      # reach
POSE_SHARES = (0.2, 0.16, 0.18, 0.16, 0.08, 0.1, 0.12)
HEAD = {"head": (0, -0.18, 0), "jaw": (0, -0.075, -0.012), "brow": (0, -0.11, -0.008),  # from the neck
        "crown": (0, -0.127, 0.014), "nape": (0, -0.08, 0.03), "nose": (0, -0.085, -0.066),
        "right_eye": (-0.023, -0.104, -0.056), "left_eye": (0.023, -0.104, -0.056),
        "right_lip": (-0.015, -0.06, -0.058), "left_lip": (0.015, -0.06, -0.058)}
FACE = (("right_eye", "right_eye", 0.009, 0.12), ("left_eye", "left_eye", 0.009, 0.12),  # ends, radius, tone
        ("nose", "nose", 0.011, 0.8), ("right_lip", "left_lip", 0.006, 0.5))
LIMBS = (  # from, to, radii, cloth, which bone of the sleeve or leg it is, how much nearer it is drawn
    ("hip", "knee", (0.054, 0.038), "trousers", 0, 0.02),
    ("knee", "ankle", (0.037, 0.023), "trousers", 1, 0.01),
    ("ankle", "toe", (0.026, 0.021), "shoes", 0, 0.025),
    ("shoulder", "elbow", (0.036, 0.027), "shirt", 0, 0.04),
    ("elbow", "wrist", (0.026, 0.019), "shirt", 1, 0.045),
    ("wrist", "hand", (0.02, 0.024), "skin", 0, 0.05))
SKIN = np.array([(250, 214, 184), (225, 172, 132), (186, 128, 90), (128, 82, 56), (84, 54, 40)], float)
HAIR = np.array([(30, 22, 18), (70, 44, 26), (120, 78, 40), (214, 176, 104), (150, 60, 30)], float)


def rotation(axis, degrees):
    """A 3 x 3 rotation about axis 0 (x), 1 (y) or 2 (z)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def direction(side, swing, spread):
    """The unit vector of a limb that hangs down, swung forward and spread outward (degrees)."""
    f, a = np.radians((swing, spread))
    return np.array([side * np.sin(a), np.cos(a) * np.cos(f), -np.cos(a) * np.sin(f)])


def pose_body(rng):
    """A posed body as the camera sees it along +z: {point name: (3,)}, in body heights.

    Before the view is applied, x points to the person's own left, y down and z to its back, so a
    person that faces the camera has its left side at the image's right.
    """
    torso, shoulder, hip = rng.normal((0.29, 0.105, 0.062), (0.015, 0.008, 0.005))
    thigh, shin, upper, fore = rng.normal((0.245, 0.24, 0.17, 0.15), 0.01)
    row = POSES[rng.choice(len(POSES), p=POSE_SHARES)]
    draws = rng.uniform(row[0::2], row[1::2], (2, 10))
    lean = draws[0, -1]
    trunk = rotation(1, rng.normal(0, 12)) @ rotation(0, lean) @ rotation(2, rng.normal(0, 7))
    turn, nod, tilt = rng.normal((0, 4, 0), (20, 9, 7))
    skull = trunk @ rotation(1, turn) @ rotation(0, nod) @ rotation(2, tilt)
    points = {"chest": trunk @ (0, -torso, 0), "neck": trunk @ (0, -torso - 0.035, 0)}
    points.update({name: points["neck"] + skull @ place for name, place in HEAD.items()})
    leg_a = rng.integers(2)
    for k, (side, person) in enumerate(((-1, "right"), (1, "left"))):
        hips, knees, (spread,), swings, (lift, elbow, _) = np.split(draws[k], (2, 4, 5, 7))
        b = int(k != leg_a)
        flex, bend, swing = hips[b], knees[b], swings[1 - b] + lean
        start = points[f"{person}_hip"] = np.array([side * hip, 0, 0])
        start = points[f"{person}_knee"] = start + thigh * direction(side, flex, spread)
        start = points[f"{person}_ankle"] = start + shin * direction(side, flex - bend, 0.7 * spread)
        points[f"{person}_toe"] = start + 0.09 * direction(side, flex - bend + 70, 0.7 * spread)
        way = np.radians(rng.uniform(-50, 90))  # the elbow bends forward or to the side
        lower = trunk @ direction(side, swing + elbow * np.cos(way), lift + elbow * np.sin(way))
        start = points[f"{person}_shoulder"] = trunk @ (side * shoulder, -torso, 0)
        start = points[f"{person}_elbow"] = start + upper * trunk @ direction(side, swing, lift)
        start = points[f"{person}_wrist"] = start + fore * lower
        points[f"{person}_hand"] = start + 0.045 * lower
    yaw = rng.choice((0, 180, 90, -90), p=(0.55, 0.2, 0.125, 0.125)) + rng.normal(0, 18)
    roll = rng.uniform(-180, 180) if rng.random() < 0.1 else rng.normal(0, 7)
    view = rotation(2, roll) @ rotation(0, rng.normal(6, 8)) @ rotation(1, yaw)
    return {name: view @ point for name, point in points.items()}


def frame_tight(rng, extent):
    """Image size and place of the joints' box, in the units of extent (2,): like LSP."""
    size = np.clip(extent / rng.uniform((0.44, 0.66), (0.68, 0.86)), 1.12 * extent, 1.75 * extent.max())
    size = np.maximum(size, 0.42 * size.max())
    return size, (size - extent) * rng.uniform(0.25, 0.75, 2), rng.uniform(110, 220)


def frame_wide(rng, extent):
    """The same like LSP extended: further away, a third of the people reaching past the border."""
    size = extent / rng.uniform((0.26, 0.34), (0.48, 0.56))
    size = np.maximum(size, 0.55 * size.max())
    corner = (size - extent) * rng.uniform(0.1, 0.9, 2)
    if rng.random() < 0.33:
        axis, cut = rng.integers(2), rng.uniform(0.05, 0.4) * extent
        corner[axis] = -cut[axis] if rng.random() < 0.5 else (size - extent + cut)[axis]
    return size, corner, rng.uniform(150, 400)


def draw_part(image, owner, mark, pieces, colour):
    """Draw the union of tapered capsules with smooth edges and a dark contour.

    image is (H, W, 3) float, owner (H, W) takes mark where the part covers the pixel, pieces is
    (P, 6): x, y, radius at both ends in pixels, where pixel i covers [i, i + 1).
    """
    ends = pieces.reshape(-1, 3)
    low = np.maximum(np.floor((ends[:, :2] - ends[:, 2:]).min(0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil((ends[:, :2] + ends[:, 2:]).max(0)) + 1, image.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    x, y = np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1])[:, None] + 0.5
    gap, depth = np.inf, np.inf
    for x0, y0, r0, x1, y1, r1 in pieces:
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9)
        along = np.clip(along, 0, 1)
        away = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        radius = r0 + along * (r1 - r0)
        gap, depth = np.minimum(gap, away - radius), np.minimum(depth, away / radius)
    window = np.s_[low[1]:high[1], low[0]:high[0]]
    cover = np.clip(0.5 - gap, 0, 1)
    shade = (1.06 - 0.3 * np.minimum(depth, 1) ** 2) * (1 - 0.4 * np.clip(gap + 1.7, 0, 1))
    image[window] += cover[..., None] * (shade[..., None] * colour - image[window])
    owner[window][cover > 0.5] = mark


def choose_look(rng, ground):
    """Build, hair, skin and clothes; colours (3,), 0 to 255, that stand out from the ground colour."""
    def dye():
        strong = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1), rng.uniform(0.4, 1))
        return 255 * np.array(strong) if rng.random() < 0.75 else np.full(3, rng.choice((28.0, 70.0, 235.0)))

    def farthest(draws):
        return max(draws, key=lambda colour: np.abs(colour - ground).sum())

    tones = rng.uniform(0, len(SKIN) - 1, 3)
    skin = farthest([np.array([np.interp(t, range(len(SKIN)), SKIN[:, c]) for c in range(3)]) for t in tones])
    shirt, trousers = farthest([dye() for _ in range(4)]), farthest([dye() for _ in range(4)])
    cover = {"shirt": rng.choice((0.0, 0.55, 2.0), p=(0.15, 0.5, 0.35)),  # bones clothed: 2 is long
             "trousers": rng.choice((0.6, 2.0), p=(0.4, 0.6))}
    return {"skin": skin, "hair": HAIR[rng.integers(len(HAIR))], "shirt": shirt, "trousers": trousers,
            "shoes": farthest([dye(), dye()]), "cover": cover, "girth": rng.uniform(0.85, 1.25),
            "long_hair": rng.random() < 0.35}


def make_part(lines, colour, joints=(), depth=None):
    """(depth, joints it belongs to, pieces (P, 6), colour) of lines [(start, radius, end, radius)]."""
    middle = np.mean([(start[2] + end[2]) / 2 for start, _, end, _ in lines])
    pieces = np.array([(*start[:2], r, *end[:2], s) for start, r, end, s in lines])
    tone = colour * np.clip(1 - 0.7 * middle, 0.75, 1.1)  # the far side is darker
    return middle if depth is None else depth, {JOINT[j] for j in joints if j in JOINT}, pieces, tone


def limb_parts(points, look, names, radii, cloth, share, nearer):
    """One bone of a limb, clothed over the given share of its length from the start."""
    a, b = points[names[0]], points[names[1]]
    r, s = np.array(radii) * look["girth"]
    depth = (a + b)[2] / 2 - nearer
    parts = [make_part([(a, r, b, s)], look[cloth if share >= 1 else "skin"], names, depth)]
    if 0 < share < 1:
        cuff = [(a, r + 0.004, a + share * (b - a), r + share * (s - r) + 0.005)]
        parts.append(make_part(cuff, look[cloth], names[:1], depth - 1e-4))
    return parts


def head_parts(points, look):
    """Neck, face and hair; eyes, nose and mouth only where the camera sees the face."""
    jaw, brow, crown, nape = (points[name] for name in ("jaw", "brow", "crown", "nape"))
    hair = [(crown, 0.061, crown, 0.061)] + [(crown, 0.058, nape, 0.05)] * look["long_hair"]
    skin, both = look["skin"], ("head", "neck")
    parts = [make_part([(points["chest"], 0.03, jaw, 0.03)], skin, both[1:]),
             make_part([(jaw, 0.042, brow, 0.054)], skin, both, brow[2]),
             make_part(hair, look["hair"], both, crown[2] + 0.008)]
    for start, end, radius, tone in FACE:
        a, b = points[start], points[end]
        if (a + b)[2] / 2 < brow[2] - 0.012:
            parts.append(make_part([(a, radius, b, radius)], tone * skin, both, brow[2] - 0.01))
    return parts


def body_parts(points, look):
    """The parts of a body, farthest first, in body heights."""
    tops = np.linspace(points["right_shoulder"], points["left_shoulder"], 5)
    ends = np.linspace(points["right_hip"], points["left_hip"], 5)
    waist, g = tops + 0.88 * (ends - tops), look["girth"]
    trunk = ("right_hip", "left_hip", "right_shoulder", "left_shoulder", "neck")
    middle = (tops + ends)[:, 2].mean() / 2
    shirt = [(a, 0.04 * g, b, 0.048 * g) for a, b in zip(tops, waist)]
    pants = [(a, 0.05 * g, b, 0.053 * g) for a, b in zip(waist, ends)]
    parts = [make_part(shirt, look["shirt"], trunk, middle),
             make_part(pants, look["trousers"], trunk[:2], middle - 1e-4)]
    for side in ("right", "left"):
        for start, end, radii, cloth, bone, nearer in LIMBS:
            names, share = (f"{side}_{start}", f"{side}_{end}"), look["cover"].get(cloth, 1) - bone
            parts += limb_parts(points, look, names, radii, cloth, share, nearer)
    return sorted(parts + head_parts(points, look), key=lambda part: -part[0])


def draw_background(rng, width, height):
    """A dull, blurred place (H, W, 3): bands or a gradient, shapes, and two scales of noise."""
    def dull():
        return rng.uniform(60, 200) + rng.uniform(-28, 28, 3)

    step = np.linspace(0, 1, height)[:, None]
    if rng.random() < 0.5:  # ground and sky
        step = (step > rng.uniform(0.25, 0.8)).astype(float)
    top = dull() + (-15, 0, 25)
    image = np.repeat((top + step * (dull() + (-5, 20, -20) - top))[:, None], width, axis=1)
    canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(0, 8)):
        x, y = rng.uniform(-0.1, 1, 2) * (width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, *(rng.uniform(0.05, 0.4, 2) * (width, height) + (x, y))), tuple(dull().astype(int)))
    image = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(1, 5))), float)
    cells = rng.integers(6, 40, 2)
    grain = Image.fromarray(rng.normal(0, rng.uniform(2, 12), cells).astype(np.float32))
    return image + np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC))[..., None]


def draw_object(rng, image, owner, joints):
    """A box or a post in front of the person, near one of its joints."""
    span = np.ptp(joints, axis=0).max()
    x, y = joints[rng.integers(len(joints))] + rng.uniform(-0.05, 0.05, 2) * span
    radius, length = rng.uniform((0.06, 0), (0.11, 0.25)) * span
    turn = rng.uniform(0, np.pi)
    dx, dy = length * np.cos(turn), length * np.sin(turn)
    colour = rng.uniform(40, 220, 3)
    if rng.random() < 0.5:
        draw_part(image, owner, OBJECT, np.array([(x - dx, y - dy, radius, x + dx, y + dy, radius)]), colour)
        return
    left, top = np.maximum((x - radius, y - radius), 0).astype(int)
    window = np.s_[top:int(max(y + radius + abs(dy), 0)), left:int(max(x + radius + abs(dx), 0))]
    image[window], owner[window] = colour, OBJECT


def draw_figure(image, parts, scale, shift):
    """Draw the parts, farthest first; returns the owner map (H, W): 1 + index of the part, 0 none.

    A point p of the body, in body heights, falls on pixel coordinate scale * p + shift.
    """
    owner = np.zeros(image.shape[:2], np.uint8)
    for mark, (_, _, pieces, colour) in enumerate(parts, start=1):
        placed = pieces * scale
        placed[:, :2] += shift
        placed[:, 3:5] += shift
        draw_part(image, owner, mark, placed, colour)
    return owner


def find_hidden(owner, parts, joints, depths):
    """(14,) bool: the joints inside the image that an object or another part covers."""
    hidden = np.zeros(len(joints), bool)
    for j, (x, y) in enumerate(np.floor(joints).astype(int)):
        if 0 <= y < owner.shape[0] and 0 <= x < owner.shape[1] and owner[y, x]:
            depth, members = parts[owner[y, x] - 1][:2] if owner[y, x] != OBJECT else (-np.inf, ())
            hidden[j] = j not in members and depths[j] - depth > HIDDEN_GAP
    return hidden


def inside(joints, width, height):
    """(N,) bool: which joints (N, 2) lie inside the image."""
    return ((joints >= 0) & (joints < (width, height))).all(axis=1)


def render_person(rng, wide=False):
    """One image of one person: tight around it like LSP, or wide like LSP extended.

    Returns the image (H, W, 3) uint8, the joints (14, 2) float64 in pixels (x, y; pixel i covers
    [i, i + 1), so joints can lie outside a wide image) and hidden (14,) bool, which tells the
    joints inside the image that are covered by an object or by a nearer part of the body.
    """
    points = pose_body(rng)
    body = np.array([points[name] for name in LSP.joints])
    low, extent = body[:, :2].min(0), np.ptp(body[:, :2], axis=0)
    size, corner, longest = (frame_wide if wide else frame_tight)(rng, extent)
    scale = longest / size.max()
    width, height = np.rint(size * scale).astype(int)
    shift = (corner - low) * scale
    joints = body[:, :2] * scale + shift
    if inside(joints, width, height).sum() < MIN_LABELLED:
        shift = shift + (width / 2, height / 2) - (joints.min(0) + joints.max(0)) / 2
        joints = body[:, :2] * scale + shift
    image = draw_background(rng, width, height)
    look = choose_look(rng, image.mean(axis=(0, 1)))
    parts = body_parts(points, look)
    owner = draw_figure(image, parts, scale, shift)
    if rng.random() < 0.15:
        draw_object(rng, image, owner, joints)
    image += rng.normal(0, rng.uniform(1, 6), image.shape[:2])[..., None]
    hidden = find_hidden(owner, parts, joints, body[:, 2])
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), joints, hidden
