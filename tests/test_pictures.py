"""The pictures: what they choose to show, that it is drawn where it lies, and what the tables
say."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

import test_stage_1
import test_stage_2
from deeppose import (
    csv_files,
    drawing,
    error_plots,
    joint_metrics,
    metrics,
    photos,
    plots,
    tables,
    text_tables,
    training_plots,
)
from deeppose.shell import InputError
from deeppose.skeleton import Skeleton
from deeppose.skeletons import LSP


@pytest.fixture
def stages(data):
    """True joints (N, J, 2) px of the test rows, and two stages' predictions, the second better."""
    true = data.test_labels.astype(float)
    first = true + np.random.default_rng(0).normal(0, 12, true.shape)
    return true, {"stage 1": first, "stage 2": (first + true) / 2}


def opened(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def near(picture, colour):
    """Mask of the pixels that are about of this colour."""
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    return np.abs(picture - wanted).max(2) < 12


def test_best_median_and_worst_images_are_chosen_each_once():
    errors = np.array([0.5, 0.1, np.nan, 0.9, 0.3, 0.7, 0.2, 0.8, 0.6, 0.4])
    picked = drawing.pick(errors, 2)
    assert {kind: list(rows) for kind, rows in picked.items()} == {
        "best": [1, 6],
        "median": [9, 0],
        "worst": [7, 3],
    }
    for count in range(1, 12):
        picked = np.concatenate(list(drawing.pick(np.arange(count, dtype=float), 3).values()))
        assert len(picked) and (count < 3 or len(set(picked)) == len(picked))


def test_an_images_error_is_in_torso_diameters_of_its_labelled_joints():
    true = np.zeros((2, 14, 2))
    true[:, LSP.index("left_shoulder")] = [0, 50]
    predicted = true + [[[3, 4]], [[0, 10]]]
    true[0, 6:8] = np.nan
    assert drawing.image_errors(predicted, true, LSP, None) == pytest.approx([0.1, 0.2])
    true[1, LSP.index("right_hip")] = np.nan
    assert np.isnan(drawing.image_errors(predicted, true, LSP, None)[1])


def test_pictures_are_made_of_any_number_of_images(data, stages, tmp_path):
    true, poses = stages
    true[0, 3:5] = np.nan
    for count in (1, 10):
        few = {name: joints[:count] for name, joints in poses.items()}
        plots.pdj_curves(tmp_path / "pdj.png", few, true[:count], LSP)
        error_plots.error_clouds(tmp_path / "clouds.png", few, true[:count], LSP)
        drawing.contact_sheet(
            tmp_path / "sheet.png", data.test_images[:count], few, true[:count], LSP
        )
        for name in ("pdj", "clouds", "sheet"):
            picture = opened(tmp_path / f"{name}.png")
            assert min(picture.shape[:2]) > 300 and picture.std() > 10


def test_what_a_refiner_learns_from_is_drawn_beside_what_it_meets(tmp_path):
    rng = np.random.default_rng(0)
    names = [name for name in plots.LOOKS if name.startswith(("simulated", "real"))]
    clouds = {name: rng.normal(0, 0.2 + 0.1 * n, (14, 30, 2)) for n, name in enumerate(names)}
    clouds["simulated"][3] = np.nan  # a joint without a label
    error_plots.learning_clouds(tmp_path / "clouds.png", clouds, LSP)
    assert len(names) == 3 and opened(tmp_path / "clouds.png").std() > 10


@pytest.mark.parametrize("gross", [0, 40])
def test_a_clouds_ellipse_holds_half_of_it_whatever_its_tails(gross):
    rng = np.random.default_rng(0)
    errors = rng.normal([0.1, -0.2], [0.3, 0.1], (401, 2))
    errors[:gross] *= 9
    centre, width, height, angle = error_plots.half_ellipse(errors)
    turned = np.radians(angle)
    away = (errors - centre) @ np.array(
        [[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]]
    )
    assert (((2 * away / [width, height]) ** 2).sum(1) < 1).sum() in (200, 201)
    for flat in (np.zeros((5, 2)), np.outer(np.arange(5.0), [1, 2])):
        assert np.isfinite(error_plots.half_ellipse(flat)[1:]).all()


def test_learning_curves_of_several_runs(tmp_path):
    curve = {
        "images": [1000, 2000, 4000],
        "pdj_0.2": [0.1, 0.2, 0.3],
        "pcp_strict_mean_4": [0.1, 0.1, 0.2],
    }
    training_plots.learning_curves(tmp_path / "learning.png", {"one": curve, "another": curve})
    assert opened(tmp_path / "learning.png").std() > 10


def test_joints_that_were_trained_for_longer_than_others_are_seen_to_their_end(
    tmp_path, monkeypatch
):
    figures = []
    monkeypatch.setattr(training_plots, "save", lambda figure, path: figures.append(figure))
    curves = {
        name: {"epoch": np.arange(1.0, count + 1), "gain": np.ones(count)}
        | {key: np.full(count, 0.1) for key in ("loss", "loss_with_gain", "loss_without")}
        for name, count in (("neck", 2), ("left_elbow", 5), ("head", 1))
    }
    training_plots.stage_2_training(tmp_path / "curves.png", curves)
    for axes in figures[0].axes:
        low, high = axes.get_xlim()
        assert all(
            low < line.get_xdata().min() and line.get_xdata().max() < high for line in axes.lines
        )
    assert [axes.lines[0].get_xdata().max() for axes in figures[0].axes] == [2, 5, 1]


def test_curves_hold_the_numbers_and_differ_in_grey(stages):
    true, poses = stages
    points = plots.pdj_points(poses["stage 1"], true, LSP, None, [0.1, 0.2])
    diameter = np.linalg.norm(true[:, 9] - true[:, 2], axis=1)
    assert points["wrist"][1] == pytest.approx(
        joint_metrics.pdj(poses["stage 1"], true, diameter, 0.2)[[6, 11]].mean()
    )
    assert set(points) == set(LSP.joint_groups)
    assert len({look["linestyle"] for look in plots.LOOKS.values()}) == len(plots.LOOKS)
    light = [
        Figure(facecolor=colour).get_facecolor()[:3] @ np.array([0.299, 0.587, 0.114])
        for colour in (drawing.LEFT, drawing.RIGHT)
    ]
    assert abs(light[0] - light[1]) > 0.15  # the person's sides


def test_a_joint_in_the_centre_of_a_pixel_is_drawn_there(tmp_path):
    """On a sheet of one image of 8 x 8 pixels, one of them lit, the left shoulder's dot lies in
    that pixel's middle."""
    images = np.full((1, 8, 8, 3), (0, 0, 90), np.uint8)
    images[0, 2, 5] = (0, 255, 0)  # not white, as the paper is
    true = np.full((1, 14, 2), np.nan)
    true[0, LSP.index("left_shoulder")] = (5.5, 2.5)
    true[0, LSP.index("right_hip")] = (1.5, 6.5)
    drawing.contact_sheet(tmp_path / "sheet.png", images, {"stage 1": true}, true, LSP)
    picture = opened(tmp_path / "sheet.png")
    lit_pixels = ndimage.find_objects(ndimage.label(near(picture, "#00ff00"))[0])
    # the best, the median and the worst image; the true pose and the predicted one
    assert len(lit_pixels) == 6
    for lit in lit_pixels:
        dot = np.argwhere(near(picture[lit], drawing.LEFT))
        middle = (np.array(picture[lit].shape[:2]) - 1) / 2
        assert min(middle) > 5 and dot.mean(0) == pytest.approx(middle, abs=1)


@pytest.mark.parametrize("size", [(300, 200), (20, 30), (3000, 1500)])
def test_the_skeleton_lies_where_the_joints_are(size, tmp_path):
    """On a grey photograph of any size, the left hip and knee are joined by a line of the left's
    colour."""
    joints = np.full((14, 2), np.nan)
    joints[LSP.index("left_hip")] = np.array([0.25, 0.5]) * size
    joints[LSP.index("left_knee")] = np.array([0.75, 0.5]) * size
    drawing.photograph(
        tmp_path / "photo.png", Image.new("RGB", size, (90, 90, 90)), joints[None], LSP
    )
    picture = opened(tmp_path / "photo.png")
    height, width = picture.shape[:2]
    assert drawing.LEAST_PICTURE_PX <= max(width, height) <= photos.MOST_PICTURE_PX
    assert width / height == pytest.approx(size[0] / size[1], rel=0.01)
    rows, columns = np.nonzero(near(picture, drawing.LEFT))
    assert not near(picture, drawing.RIGHT).any()
    assert (columns.min() / width, columns.max() / width) == pytest.approx((0.25, 0.75), abs=0.02)
    assert abs(rows / height - 0.5).max() < 0.05
    assert (picture[: height // 4] == 90).all()  # the photograph itself


def test_what_is_unsure_is_drawn_faint(tmp_path):
    """A limb is as faint as its less sure end, a dot as its own joint; without a confidence all is
    opaque."""
    assert (drawing.opacity(LSP, None) == 1).all() and (
        drawing.opacity(LSP, np.full(14, np.nan)) == 1
    ).all()
    joints = np.random.default_rng(0).uniform(0, 100, (14, 2))
    sure = np.ones(14)
    sure[LSP.index("left_knee")] = drawing.FAINT_BELOW - 0.01
    sure[LSP.index("left_ankle")] = drawing.FAINT_BELOW
    axes = Figure().add_subplot()
    drawing.draw_skeleton(axes, joints, LSP, confidence=sure)
    faint = {
        bone
        for bone, line in zip(LSP.bones, axes.lines, strict=True)
        if line.get_alpha() == drawing.FAINT
    }
    assert faint == {("left_hip", "left_knee"), ("left_knee", "left_ankle")}
    assert {line.get_alpha() for line in axes.lines} == {1, drawing.FAINT}
    np.testing.assert_array_equal(
        axes.collections[0].get_alpha(), np.where(sure < 0.25, drawing.FAINT, 1)
    )


@pytest.mark.parametrize("value, seen", [(0.1, "faint"), (0.9, "opaque"), (np.nan, "opaque")])
def test_a_faint_limb_lets_the_photograph_through(value, seen, tmp_path):
    """Of two people in a grey photograph the lower one's thigh is unsure: it is drawn, but mixed
    with the grey."""
    poses = np.full((2, 14, 2), np.nan)
    poses[:, LSP.index("left_hip"), 0], poses[:, LSP.index("left_knee"), 0] = 100, 500
    poses[:, [LSP.index("left_hip"), LSP.index("left_knee")], 1] = [[100], [300]]
    confidence = np.array([np.full(14, 0.9), np.full(14, value)])
    drawing.photograph(
        tmp_path / "photo.png", Image.new("RGB", (600, 400), (90, 90, 90)), poses, LSP, confidence
    )
    picture = opened(tmp_path / "photo.png")
    assert picture.shape[:2] == (400, 600)
    # the first person's is opaque
    assert near(picture[95:105, 300][:, None], drawing.LEFT).sum() >= 2
    middle = picture[295:305, 300][:, None]
    assert near(middle, drawing.LEFT).any() == (seen == "opaque")
    difference = np.abs(middle - 90).max()
    # black edges are as faint as what they edge
    assert (20 < difference < 45) if seen == "faint" else difference > 85


@pytest.mark.parametrize("unit, unit_name", [("box", "box sides"), ("head", "head sizes")])
def test_a_sheet_of_upright_frames_in_other_units(unit, unit_name, data, tmp_path, monkeypatch):
    """Frames of 96 x 128 px, errors by the rows' sizes; the names of units are whole words."""
    skeleton = replace(LSP, unit=unit, unit_name=unit_name, scores=("pdj",))
    true = np.random.default_rng(0).uniform(10, 90, (5, 14, 2))
    predicted = true + np.array([3.0, 4.0]) * np.arange(1, 6)[:, None, None]
    sizes = {
        "box": np.full(5, 50.0),
        "head": np.array([10.0, 10, 10, 20, np.nan]),
        "area": np.full(5, np.nan),
    }
    expected = np.arange(1, 6) * 5 / sizes[unit]
    np.testing.assert_allclose(drawing.image_errors(predicted, true, skeleton, sizes), expected)
    figures = []
    save = drawing.save
    monkeypatch.setattr(
        drawing, "save", lambda figure, path: (figures.append(figure), save(figure, path))
    )
    confidence = {"stage 1": np.tile(np.linspace(0, 1, 14), (5, 1))}
    drawing.contact_sheet(
        tmp_path / "sheet.png",
        data.test_images[:5, :128, :96],
        {"stage 1": predicted},
        true,
        skeleton,
        sizes,
        confidence,
        count=1,
    )
    said = [axes.get_xlabel() for part in figures[0].subfigs for axes in part.axes]
    best, worst = np.nanargmin(expected), np.nanargmax(expected)
    assert said[0] == f"test row {best}" and said[1].startswith(
        f"error {expected[best]:.2f} {unit_name}\n"
    )
    assert said[-1].startswith(f"error {expected[worst]:.2f} {unit_name}\n")
    assert opened(tmp_path / "sheet.png").std() > 10


def test_training_curves_are_kept_and_read_again(tmp_path):
    history = [
        {
            "epoch": n,
            "train_loss": 1 / n,
            "held_out_loss": 2 / n,
            "pdj_0.2": 0.1 * n,
            "pcp_strict_mean_4": 0.2,
        }
        for n in (1, 2)
    ]
    for count in (1, 2):
        csv_files.save(tmp_path / "curves.csv", history[:count])
        curves = csv_files.load_numbers(tmp_path / "curves.csv", training_plots.STAGE_1_CURVES)
        np.testing.assert_array_equal(curves["train_loss"], [1, 0.5][:count])
        training_plots.stage_1_training(tmp_path / "curves.png", curves)
        assert opened(tmp_path / "curves.png").std() > 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch,loss",
        "epoch,loss\n1,much\n",
        "epoch,loss\n1\n",
        "epoch,loss\n1,2,3\n",
        "epoch,gain\n1,1\n",
        "epoch,loss\nnan,1\n",
        "epoch,loss\n1,1e300\n",
        "epoch,loss\n1,inf\n",
        "epoch,loss\n1," + 200_000 * "1" + "\n",
        "epoch,loss\n1,\0\n",
    ],
)
def test_tables_that_are_none_are_named(text, tmp_path):
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(InputError, match="curves.csv"):
        csv_files.load_numbers(tmp_path / "curves.csv", ("epoch", "loss"))


@pytest.mark.parametrize("first", [3, 6])
def test_steps_that_draw_the_same_picture_wait_for_each_other(
    first, own_workdir, data, stages, monkeypatch
):
    """Steps 3 and 6 both draw stage 1's training: one starts while the other is in the middle of
    writing it."""
    history = [
        {"epoch": 1, "train_loss": 1, "held_out_loss": 2, "pdj_0.2": 0.1, "pcp_strict_mean_4": 0.2}
    ]
    csv_files.save(own_workdir / "curves_stage_1.csv", history)
    for module, name in (
        (plots, "pdj_curves"),
        (error_plots, "error_clouds"),
        (drawing, "contact_sheet"),
    ):
        monkeypatch.setattr(module, name, lambda *arguments: None)
    confidence = {name: np.ones(joints.shape[:2]) for name, joints in stages[1].items()}
    steps = {
        3: lambda: test_stage_1.draw(
            own_workdir, data, stages[1]["stage 1"], confidence["stage 1"]
        ),
        6: lambda: test_stage_2.draw(own_workdir, data, stages[1], confidence, own_workdir),
    }
    second = threading.Thread(target=steps[9 - first])

    def savefig(figure, path, **options):
        path.write_bytes(b"a picture")
        if second.ident is None:
            second.start()
            second.join(0.5)

    monkeypatch.setattr(Figure, "savefig", savefig)
    steps[first]()
    second.join()
    assert (own_workdir / "curves_stage_1.png").read_bytes() == b"a picture"
    assert not [*own_workdir.glob("*.tmp"), *own_workdir.glob("*.lock")]


def test_tables_fit_the_shell_and_say_which_variant(stages):
    true, poses = stages
    third = {"mean pose": poses["stage 1"] + 3} | poses | {"stage 3": poses["stage 2"] + 1}
    for columns in (dict(list(poses.items())[:1]), poses, third):
        scores = {
            name: metrics.score(joints, true, LSP, thresholds=(0.125,))
            for name, joints in columns.items()
        }
        intervals = {
            name: metrics.intervals(joints, true, LSP, thresholds=(0.125,))
            for name, joints in columns.items()
            if name != "mean pose"
        }
        if "stage 2" in columns:
            last = columns[list(columns)[-1]]
            intervals["gained"] = metrics.intervals(
                last, true, LSP, thresholds=(0.125,), before=poses["stage 1"]
            )
        text = "\n".join(
            map(text_tables.text, tables.score_tables(scores, intervals, LSP, len(true), 0.125))
        )
        assert max(map(len, text.splitlines())) <= 100 and "nan" not in text
        strict = scores["stage 1"]["pcp_strict"]["mean_4"]
        for said in (
            "strict, mean of 4",
            "relaxed, mean of 10",
            "PDJ@0.125",
            "AUC",
            "PCKh@0.5",
            "Pishchulin",
            "as recalled",
            f"{strict:.3f} ±",
            "cannot be compared",
        ):
            assert said in text
        assert ("gained" in text) == ("stage 2" in columns) and ("this run, stage 3" in text) == (
            "stage 3" in columns
        )


def test_a_joint_that_is_never_labelled_is_said(stages):
    true, poses = stages
    true[:, 0] = np.nan
    scores = {"stage 1": metrics.score(poses["stage 1"], true, LSP)}
    intervals = {"stage 1": metrics.intervals(poses["stage 1"], true, LSP)}
    text = "\n".join(map(text_tables.text, tables.score_tables(scores, intervals, LSP, 1000)))
    assert "never labelled, and in no mean: right_ankle" in text and "nan" not in text


def test_tables_of_a_skeleton_that_is_scored_otherwise():
    """By head sizes and OKS: no PCP, no PDJ, nothing published; PCKh joint by joint."""
    skeleton = Skeleton(
        "faces",
        ("left_eye", "right_eye", "nose"),
        unit="head",
        unit_name="head sizes",
        thresholds=(0.1, 0.5),
        scores=("pckh", "oks"),
        chosen_by=("pckh_0.5",),
    )
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 200, (30, 3, 2))
    sizes = {"head": rng.uniform(10, 40, 30), "area": rng.uniform(500, 5000, 30)}
    scores = {}
    intervals = {}
    for stage, error_px in (("stage 1", 8), ("stage 2", 5)):
        predicted = true + rng.normal(0, error_px, true.shape)
        scores[stage] = metrics.score(predicted, true, skeleton, sizes)
        intervals[stage] = metrics.intervals(predicted, true, skeleton, sizes)
    intervals["gained"] = metrics.intervals(predicted, true, skeleton, sizes, before=true)
    text = "\n".join(
        map(text_tables.text, tables.score_tables(scores, intervals, skeleton, len(true)))
    )
    for said in (
        "PCKh@0.1",
        "PCKh@0.5",
        "OKS, mean",
        "PCKh by joint",
        "left eye",
        f"{scores['stage 2']['oks']:.3f} ±",
    ):
        assert said in text
    assert not any(word in text for word in ("PCP", "PDJ", "Published", "nan"))
    assert max(map(len, text.splitlines())) <= 100
