"""A refiner's gain: how much of what it says is to be trusted, judged on held-out images."""
import numpy as np

MOST = 0.5   # torso diameters that an error counts for at most
CLEAR = 2.0  # standard errors by which a gain must help, or it is 0


def counted(left):
    """What counts of an image's errors (..., K, 2) in torso diameters: the mean of their lengths, each at most MOST.

    NaN stands for errors that are not known. The mean over images is least where the area under PDJ's curve up to
    MOST is greatest, which squares would not do: there the few gross errors, which no crop shows how to mend, outweigh
    all others.
    """
    return np.nanmean(np.minimum(np.linalg.norm(left, axis=-1), MOST), -1)


def fit_gain(said, wanted):
    """The g in [0, 1], to a hundredth, with the least mean counted(wanted - g x said), both (N, K, 2) torso diameters.

    0 unless it clearly helps: what it takes off an image is on average CLEAR standard errors above 0.
    """
    said, wanted, gains = said.astype(float), wanted.astype(float), np.linspace(0, 1, 101)
    if len(said) < 2:
        return 0.0
    errors = counted(wanted - gains[:, None, None, None] * said)  # (101, N)
    best = errors.mean(1).argmin()
    gained = errors[0] - errors[best]  # (N,)
    return float(gains[best]) if gained.mean() > CLEAR * gained.std(ddof=1) / np.sqrt(len(gained)) else 0.0
