import hashlib
import shutil

import numpy as np
import scipy.io
from helpers import fails
from PIL import Image

from deeppose import figure, posing, sample
from deeppose.skeletons import LSP


def tree_digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        (str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    ]


def test_layout_is_that_of_the_leeds_sets(photos):
    assert scipy.io.loadmat(photos / "joints_1.mat")["joints"].shape == (3, 14, 20)
    assert scipy.io.loadmat(photos / "joints_2.mat")["joints"].shape == (14, 3, 14)
    assert (photos / "images_1" / "im0020.jpg").exists() and (
        photos / "images_2" / "im00014.jpg"
    ).exists()


def test_lsp_joints_lie_inside_and_lspe_has_unlabelled_and_outside_ones():
    outside = unlabelled = 0
    for number in range(1, 60):
        rng = np.random.default_rng((0, 2, number))
        image, joints, hidden = figure.render_person(rng, wide=True)
        height, width = image.shape[:2]
        labels = sample.label_wide(rng, joints, hidden, width, height)
        outside += (~figure.inside(joints, width, height)).sum()
        unlabelled += (labels[:, 2] == 0).sum()
        assert labels[:, 2].sum() >= 4
        image, joints, _ = figure.render_person(np.random.default_rng((0, 1, number)))
        assert figure.inside(joints, *image.shape[1::-1]).all()
    assert outside > 0 and 0.05 < unlabelled / (59 * 14) < 0.25


def test_left_and_right_are_the_persons_own():
    """Seen from behind (the head's nose is farther off than its nape) the left side is at the
    image's left."""
    for seed in range(200):
        points = posing.pose_body(np.random.default_rng(seed))
        across = points["left_hip"] - points["right_hip"]
        up, front = (
            points["neck"] - (points["left_hip"] + points["right_hip"]) / 2,
            points["jaw"] - points["nape"],
        )
        assert (
            np.dot(np.cross(across, up), front) > 0
            or abs(np.dot(np.cross(across, up), front)) < 2e-3
        )


def test_same_seed_same_bytes(tmp_path):
    for name in ("one", "two"):
        sample.write_sample(tmp_path / name, lsp=4, lspet=3, seed=5)
    assert tree_digest(tmp_path / "one") == tree_digest(tmp_path / "two")
    # replaces what it rendered itself
    sample.write_sample(tmp_path / "two", lsp=4, lspet=3, seed=6)
    assert tree_digest(tmp_path / "one") != tree_digest(tmp_path / "two")


def test_photographs_are_never_overwritten(tmp_path, capsys):
    sample.write_sample(tmp_path, lsp=2, lspet=1)
    shutil.rmtree(tmp_path / "images_1")  # and photographs in place of what was rendered
    (tmp_path / "images_1").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images_1" / "im0001.jpg")
    before = tree_digest(tmp_path)
    fails(sample.main, [tmp_path], capsys, "is left alone")
    assert tree_digest(tmp_path) == before


def test_joints_are_lsps():
    assert list(figure.JOINT) == list(LSP.joints)
