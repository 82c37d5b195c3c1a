"""Step 1: which rows there are, what they show, and what their labels are."""

import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

import LSP_data
from deeppose import dataset_format, geometry
from deeppose.downloads import read_mat
from deeppose.skeletons import LSP


def read(workdir, *names):
    return [np.load(workdir / f"{name}.npy") for name in names]


def columns(rows, *names):
    """Columns of rows (N, columns), (N,) each."""
    return [rows[:, dataset_format.COLUMNS.index(name)] for name in names]


def mat_joints(photos):
    """Both sets' joints as (N, 14, 2) px, NaN where LSPe has no label: read here independently of
    step 1."""
    lsp = scipy.io.loadmat(photos / "joints_1.mat")["joints"]  # (3, 14, N)
    lspe = scipy.io.loadmat(photos / "joints_2.mat")["joints"]  # (14, 3, N)
    first = np.stack([lsp[0].T, lsp[1].T], -1)
    second = np.stack([lspe[:, 0].T, lspe[:, 1].T], -1)
    second[lspe[:, 2].T == 0] = np.nan
    return {1: first, 2: second}


def image_path(photos, number_of_set, number):
    return photos / f"images_{number_of_set}" / f"im{number:0{3 + number_of_set}d}.jpg"


def check_rows(workdir, photos):
    """Every label is the similarity of the .mat joints that its row names; held-out and test rows
    are letterboxes."""
    facts, joints = json.loads((workdir / "dataset.json").read_text()), mat_joints(photos)
    assert facts["columns"] == list(dataset_format.COLUMNS)
    for part in ("train", "test"):
        labels, rows = read(workdir, f"{part}_labels", f"{part}_rows")
        labels = labels.reshape(len(labels), 14, 2)
        for n, (which, number, person, x0, y0, side, height, mirrored, *further) in enumerate(rows):
            assert person == 0 and side == height
            np.testing.assert_array_equal(further, [np.nan, np.nan, 1])  # head, area, score
            expected = (joints[int(which)][int(number) - 1] - [x0, y0]) * 227 / side
            if mirrored:
                expected[:, 0] = 227 - expected[:, 0]
                expected = expected[list(LSP.flip)]
            np.testing.assert_array_equal(np.isnan(labels[n]), np.isnan(expected))
            np.testing.assert_allclose(labels[n], expected, atol=1e-3)
            if part == "test" or n in facts["held_out_rows"]:
                width, height = Image.open(image_path(photos, int(which), int(number))).size
                longer = max(width, height)
                assert (x0, y0, side, mirrored) == (
                    (width - longer) / 2,
                    (height - longer) / 2,
                    longer,
                    0,
                )
            else:
                inside = labels[n][~np.isnan(labels[n])]
                # a training box holds all labelled joints
                assert inside.min() >= 0 and inside.max() <= 227


def test_rows_are_similarities_of_the_mat_joints(workdir, photos):
    check_rows(workdir, photos)


def test_order_split_and_held_out(workdir):
    train, test = read(workdir, "train_rows", "test_rows")
    train, test = (np.stack(columns(rows, "set", "image"), 1) for rows in (train, test))
    numbers = train[:, 0] * 100000 + train[:, 1]
    assert (np.diff(numbers) >= 0).all()  # LSP, then LSPe, each in the order of the file numbers
    assert set(train[train[:, 0] == 1][:, 1]) == set(range(1, 11)) and set(test[:, 1]) == set(
        range(11, 21)
    )
    assert (test[:, 0] == 1).all() and set(train[train[:, 0] == 2][:, 1]) == set(range(1, 15))
    held_out = json.loads((workdir / "dataset.json").read_text())["held_out_rows"]
    assert [tuple(row[:2]) for row in train[held_out]] == [(1, 1), (1, 6)]
    trained_on = np.delete(train, held_out, 0)
    assert not {1, 6} & set(trained_on[trained_on[:, 0] == 1][:, 1])


def test_images_are_the_boxes_that_the_rows_name(workdir, photos):
    """Each frame against a plain resize of the padded photograph."""
    images, rows = read(workdir, "train_images", "train_rows")
    assert images.dtype == np.uint8 and images.shape[1:] == (227, 227, 3)
    for frame, (which, number, _, x0, y0, side, _, mirrored, *_) in list(zip(images, rows))[::5]:
        photo = Image.open(image_path(photos, int(which), int(number)))
        padded = Image.new("RGB", (photo.width + 1000, photo.height + 1000))
        padded.paste(photo, (500, 500))
        box = (x0 + 500, y0 + 500, x0 + side + 500, y0 + side + 500)
        expected = np.asarray(padded.resize((227, 227), Image.Resampling.BILINEAR, box=box)).astype(
            int
        )
        if mirrored:
            expected = expected[:, ::-1]
        difference = np.abs(frame.astype(int) - expected)
        assert difference.mean() < 0.5 and np.median(difference) == 0


def test_unlabelled_joints_are_nan_and_lsps_occluded_ones_are_not(workdir, photos):
    labels, rows = read(workdir, "train_labels", "train_rows")
    facts = json.loads((workdir / "dataset.json").read_text())
    assert np.isnan(labels).sum() == 2 * facts["unlabelled_joints"]["train"] > 0
    assert not np.isnan(labels[columns(rows, "set")[0] == 1]).any()
    # some of LSP's are occluded
    assert (scipy.io.loadmat(photos / "joints_1.mat")["joints"][2] == 1).any()


def test_mean_pose_is_of_the_letterboxed_lsp_training_labels(workdir, photos):
    poses = []
    for number in range(1, 11):
        width, height = Image.open(image_path(photos, 1, number)).size
        side = max(width, height)
        poses.append(
            (mat_joints(photos)[1][number - 1] - [(width - side) / 2, (height - side) / 2])
            * 227
            / side
        )
    facts = json.loads((workdir / "dataset.json").read_text())
    np.testing.assert_allclose(
        np.reshape(facts["mean_pose_px"], (14, 2)), np.mean(poses, 0), atol=1e-5
    )


def test_every_row_names_its_photograph(workdir, photos):
    for part in ("train", "test"):
        names = (workdir / f"{part}_photographs.txt").read_text().splitlines()
        which, numbers = columns(read(workdir, f"{part}_rows")[0], "set", "image")
        expected = [
            image_path(photos, int(one), int(number)) for one, number in zip(which, numbers)
        ]
        assert [photos / name for name in names] == expected


def test_copies_are_drawn_with_probability_one_half():
    joints = np.random.default_rng(0).uniform(0, 100, (14, 2))
    views = [LSP_data.draw_views(joints, True, np.random.default_rng(n)) for n in range(2000)]
    assert np.mean([len(view) for view in views]) == pytest.approx(2.25, abs=0.06)
    assert np.mean([sum(mirrored for _, mirrored in view) for view in views]) == pytest.approx(
        0.75, abs=0.05
    )


def test_training_boxes_have_the_stated_scale_and_shift():
    joints = np.array([[10, 20], [110, 60]], float)
    boxes = np.array([LSP_data.draw_box(joints, np.random.default_rng(n)) for n in range(500)])
    assert 110 <= boxes[:, 2].min() < 113 and 177 < boxes[:, 2].max() <= 180
    shift = (boxes[:, :2] + boxes[:, 2:] / 2 - [60, 40]) * 227 / boxes[:, 2:]
    assert 9 < np.abs(shift).max() <= 10 and (boxes[:, 2] == boxes[:, 3]).all()


def prepare(photos, workdir, *flags):
    LSP_data.main(["--source", str(photos), "--workdir", str(workdir), *flags])
    return workdir


def test_no_copies_and_limit(photos, workdir, tmp_path):
    plain = prepare(photos, tmp_path / "plain", "--no-copies")
    (rows,) = read(plain, "train_rows")
    assert (
        rows.shape == (24, len(dataset_format.COLUMNS)) and not columns(rows, "mirrored")[0].any()
    )
    few = prepare(photos, tmp_path / "few", "--limit", "3")
    (rows, test_rows), (everything,) = (
        read(few, "train_rows", "test_rows"),
        read(workdir, "train_rows"),
    )
    assert {tuple(row[:2]) for row in rows} == {(s, n) for s in (1, 2) for n in (1, 2, 3)}
    assert list(columns(test_rows, "image")[0]) == [11, 12, 13]
    kept = everything[columns(everything, "image")[0] <= 3]
    np.testing.assert_array_equal(rows, kept)  # an image's rows do not depend on the limit


def test_same_seed_same_arrays_other_seed_other_arrays(photos, workdir, tmp_path):
    again, other = (
        prepare(photos, tmp_path / "again"),
        prepare(photos, tmp_path / "other", "--seed", "1"),
    )
    digests = [
        json.loads((folder / "dataset.json").read_text())["digests"]
        for folder in (workdir, again, other)
    ]
    assert (
        digests[0] == digests[1]
        and digests[0]["train_images.npy"] != digests[2]["train_images.npy"]
    )
    assert digests[0]["test_images.npy"] == digests[2]["test_images.npy"]


def zipped(photos, path, number, top):
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(photos / f"joints_{number}.mat", f"{top}joints.mat")
        for image in reversed(sorted((photos / f"images_{number}").iterdir())):
            archive.write(image, f"{top}images/{image.name}")


@pytest.mark.parametrize("form", ["unpacked", "zipped"])
def test_sets_as_they_are_downloaded(form, photos, workdir, tmp_path):
    source = tmp_path / "source"
    for number, name in ((1, "lsp_dataset"), (2, "lspet_dataset")):
        if form == "zipped":
            source.mkdir(exist_ok=True)
            zipped(photos, source / f"{name}.zip", number, "" if number == 1 else f"{name}/")
        else:
            shutil.copytree(photos / f"images_{number}", source / name / "images")
            shutil.copy(photos / f"joints_{number}.mat", source / name / "joints.mat")
    prepare(source, tmp_path / "out")
    expected = json.loads((workdir / "dataset.json").read_text())
    assert json.loads((tmp_path / "out" / "dataset.json").read_text()) == expected


def test_images_go_by_their_number_not_by_their_name(photos, workdir, tmp_path):
    """im2.JPG is image 2, whatever the listing's order; ragged sizes and other files beside them do
    not matter."""
    source = tmp_path / "source"
    shutil.copytree(photos, source)
    (source / "images_1" / "im0002.jpg").rename(source / "images_1" / "im2.JPG")
    (source / "images_1" / "Thumbs.db").write_bytes(b"no image")
    prepare(source, tmp_path / "out")
    facts = [
        json.loads((folder / "dataset.json").read_text()) for folder in (tmp_path / "out", workdir)
    ]
    assert facts[0] == facts[1]


def test_step_1_imports_no_torch():
    code = "import sys, LSP_data; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], cwd=LSP_data.__file__.rpartition("LSP_data")[0]
        ).returncode
        == 0
    )


def test_the_real_sets(real_photos, tmp_path):
    workdir = prepare(real_photos, tmp_path / "out", "--limit", "40")
    check_rows(workdir, real_photos)


def test_the_floor_of_the_real_sets(real_photos, tmp_path):
    """The mean pose scores what was published for it: strict mean of 4 .176, PDJ@0.2 .181."""
    from deeppose import metrics

    joints = mat_joints(real_photos)[1]
    sizes = [Image.open(image_path(real_photos, 1, n)).size for n in range(1, 2001)]
    boxes = [geometry.to_aspect(geometry.image_box(size), LSP_data.FRAME) for size in sizes]
    framed = geometry.image_to_frame(joints, np.array(boxes), LSP_data.FRAME)
    mean = np.tile(framed[:1000].mean(0), (1000, 1, 1))
    scores = metrics.score(mean, framed[1000:], LSP)
    assert scores["pcp_strict"]["mean_4"] == pytest.approx(0.176, abs=0.001)
    assert scores["pdj"]["0.20"] == pytest.approx(0.181, abs=0.001)


@pytest.mark.parametrize("compressed", [False, True])
def test_labels_are_read_as_scipy_reads_them(compressed, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "joints.mat"
    for values in (
        rng.normal(size=(3, 14)),
        rng.integers(-200, 200, (14, 3, 5)).astype(np.int16),
        rng.integers(0, 2, (2, 1, 3)).astype(np.uint8),
        rng.normal(size=(2, 2, 2)).astype(np.float32),
    ):
        scipy.io.savemat(
            path, {"other": np.arange(3), "joints": values, "text": "x"}, do_compression=compressed
        )
        np.testing.assert_array_equal(
            read_mat(path, lambda: open(path, "rb"), "joints"), scipy.io.loadmat(path)["joints"]
        )
