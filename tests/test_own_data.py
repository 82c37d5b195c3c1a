"""docs/own_data.md: its commands run word for word, on rendered people with made-up joints."""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from drawn_coco import write
from helpers import FP32, write_model
from PIL import Image

from deeppose import figure
from deeppose.skeletons import LSP

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own_data.md"
JOINTS = {
    "crown": "head",
    "neck": "neck",
    "left_shoulder": "left_shoulder",
    "right_shoulder": "right_shoulder",
    "left_hand": "left_wrist",
    "right_hand": "right_wrist",
    "left_foot": "left_ankle",
    "right_foot": "right_ankle",
}  # as they are labelled -> what is rendered
BONES = [[1, 2], [2, 3], [2, 4], [3, 5], [4, 6]]
FEWER = {
    "Train_stage_1.py": ["--epochs", "1", "--rows", "8", "--input-px", "64", *FP32],
    "test_stage_1.py": FP32,
    "predict.py": FP32,
}  # appended, and the last of two flags counts


def render(folder, count):
    """Photographs and labels.json, as a labelling tool exports them: without an area, some joints
    not labelled."""
    folder.mkdir()
    images = []
    annotations = []
    for number in range(1, count + 1):
        image, joints, hidden = figure.render_person(np.random.default_rng((7, number)))
        Image.fromarray(image).save(folder / f"photo {number}.jpg")
        images.append(
            {
                "id": number,
                "file_name": f"photo {number}.jpg",
                "width": image.shape[1],
                "height": image.shape[0],
            }
        )
        wanted = [LSP.index(name) for name in JOINTS.values()]
        seen = np.where(hidden[wanted], 0, 2)
        keypoints = np.column_stack([joints[wanted].round(1), seen]) * (seen[:, None] > 0)
        low, high = joints.min(0), joints.max(0)
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "keypoints": keypoints.ravel().tolist(),
                "bbox": [*low.round(1), *(high - low).round(1)],
            }
        )
    category = {"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": BONES}
    write(
        folder / "labels.json",
        {"images": images, "annotations": annotations, "categories": [category]},
    )
    Image.fromarray(figure.render_person(np.random.default_rng(9))[0]).save(folder / "new.jpg")


def commands():
    """The page's commands, as lists of words."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_the_walk(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    render(tmp_path / "photos", 20)
    (tmp_path / "models" / "lsp").mkdir(parents=True)
    write_model(tmp_path / "models" / "lsp")  # of the same joints, untrained
    for python, script, *flags in commands():
        assert python == "python"
        importlib.import_module(script.removesuffix(".py")).main([*flags, *FEWER.get(script, [])])
    said = capsys.readouterr().out
    assert (
        "mirror images exchange left_shoulder and right_shoulder, left_hand and right_hand" in said
    )
    about = {
        name: json.loads((tmp_path / name / "model_1.json").read_text())
        for name in ("own", "own_random")
    }
    assert about["own"]["initial_weights"].startswith("model lsp/model_1.pt")
    assert about["own_random"]["initial_weights"] == "random"
    for name in about:
        assert about[name]["skeleton"]["joints"] == list(JOINTS)
        scores = json.loads((tmp_path / name / "metrics_stage_1.json").read_text())
        assert 0 <= scores["stage_1"]["oks"] <= 1 and scores["images"] == 4
    (person,) = json.loads((tmp_path / "photos" / "new_pose.json").read_text())["people"]
    assert list(person["stage_1"]) == list(JOINTS)
    assert Image.open(tmp_path / "photos" / "new_pose.png").size[0] > 100


def test_the_page_shows_both_ways():
    lines = [" ".join(words) for words in commands()]
    assert any("--weights models/lsp" in line for line in lines) and any(
        "--weights none" in line for line in lines
    )
    assert any(line.startswith("python predict.py") for line in lines)
