"""Looks of a rendered figure: build, skin, hair and clothes that stand out from the ground."""

import colorsys

import numpy as np

SKIN_COLOURS = np.array(
    [(250, 214, 184), (225, 172, 132), (186, 128, 90), (128, 82, 56), (84, 54, 40)], float
)
HAIR_COLOURS = np.array(
    [(30, 22, 18), (70, 44, 26), (120, 78, 40), (214, 176, 104), (150, 60, 30)], float
)


def choose_look(rng, ground):
    """Build, hair, skin and clothes, with their colours (3,) in 0 to 255.

    ground  (3,), the mean colour of what is behind the figure
    """

    def farthest(colours):
        """The colour that differs most from the ground."""
        return max(colours, key=lambda colour: np.abs(colour - ground).sum())

    # of several draws the one that is seen best
    skin = farthest([_draw_skin(rng) for _ in range(3)])
    shirt = farthest([_draw_dye(rng) for _ in range(4)])
    trousers = farthest([_draw_dye(rng) for _ in range(4)])
    cover = {
        "shirt": rng.choice((0.0, 0.55, 2.0), p=(0.15, 0.5, 0.35)),  # bones clothed: 2 is long
        "trousers": rng.choice((0.6, 2.0), p=(0.4, 0.6)),
    }
    return {
        "skin": skin,
        "hair": HAIR_COLOURS[rng.integers(len(HAIR_COLOURS))],
        "shirt": shirt,
        "trousers": trousers,
        "shoes": farthest([_draw_dye(rng), _draw_dye(rng)]),
        "cover": cover,
        "girth": rng.uniform(0.85, 1.25),
        "long_hair": rng.random() < 0.35,
    }


def _draw_dye(rng):
    """A strong colour, or black, grey or white."""
    # hue, saturation and brightness; drawn even where the dye turns out grey
    strong = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.5, 1), rng.uniform(0.4, 1))
    if rng.random() < 0.75:
        return 255 * np.array(strong)
    return np.full(3, rng.choice((28.0, 70.0, 235.0)))


def _draw_skin(rng):
    """A colour between two of SKIN_COLOURS that are next to each other."""
    tone = rng.uniform(0, len(SKIN_COLOURS) - 1)
    tones = range(len(SKIN_COLOURS))
    return np.array([np.interp(tone, tones, channel) for channel in SKIN_COLOURS.T])
