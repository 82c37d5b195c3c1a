"""A working directory in which each step can be measured: arrays, models, commands."""

import shutil
from pathlib import Path

import numpy as np

import LSP_data
from Cascade_1_net import CROP_PX, Alex_net_c1
from deeppose import checkpoint, sample, training_state
from deeppose.dataset import open_dataset
from deeppose.loader import Frames
from deeppose.networks import DEFAULT
from deeppose.stage_1 import Stage_1
from Resnet_stage_1 import Resnet_stage_1

JOINTS = ("left_wrist", "right_ankle", "neck")  # refiners in step 6's round


class Bench:
    """A working directory after step 1, with what step 4 would write."""

    def __init__(self, photos, workdir, limit, run):
        """Run step 1 on so many photographs of each set (limit)."""
        self.photos = photos
        self.workdir = workdir
        self.run = run
        # the arrays
        self.source = ["--source", str(photos), "--limit", str(limit)]
        LSP_data.main([*self.source, "--workdir", str(workdir)])
        self.dataset = open_dataset(workdir)
        self.frames = Frames(self.dataset.train_images, run.device)
        self.test_frames = Frames(self.dataset.test_images, run.device)
        # what step 4 would write: the truth, or the frame's middle, and an error of some pixels
        labels = self.dataset.train_labels
        noise = np.random.default_rng(0).normal(0, 8, labels.shape)
        predicted = np.nan_to_num(labels, nan=113.5) + noise  # (N, J, 2) px
        self.predicted = predicted.astype(np.float32)
        np.save(workdir / "train_output.npy", self.predicted.reshape(len(self.predicted), -1))

    def write_models(self, number):
        """Write the checkpoints that a step reads, with random weights."""
        if number not in ("4", "6"):
            return
        stage_1 = self.model(self.stage_1())
        self.write_model(
            "1", stage_1.network, stage_1.described() | {"options": {"head": "integral"}}
        )
        if number != "6":
            return
        # what networks.load and cascade.refine_from ask of a provenance
        skeleton = self.dataset.skeleton
        for joint_name in JOINTS:
            provenance = {
                "joints": [joint_name],
                "skeleton": skeleton.described(),
                "options": {"head": "direct"},
                "crop_px": CROP_PX,
                "crop_scale": skeleton.crop_scale,
                "smallest_crop_px": 40,
            }
            self.write_model(joint_name, refiner(skeleton.index(joint_name)), provenance)

    def write_model(self, model_name, network, provenance):
        """Write one checkpoint, unless a step's command has left one there."""
        path = self.workdir / f"model_{model_name}.pt"
        if not path.exists():
            checkpoint.save(path, checkpoint.weights_of(network), provenance)

    def model(self, network):
        """A network of stage 1, as it sees the frames."""
        dataset = self.dataset
        return Stage_1(
            network, DEFAULT, dataset.skeleton, dataset.frame, dataset.margin, dataset.frame
        )

    def stage_1(self):
        """A network of stage 1 with random weights."""
        return Resnet_stage_1(self.dataset.skeleton.joint_count)

    def state(self, options, network, optimiser, average=None):
        """The state of a training that is not resumed."""
        path = self.workdir / "bench.pt"
        return training_state.TrainingState(
            path, {}, self.run, network, optimiser, options, average
        )

    def clear(self):
        """Every round of step 1 begins in an empty folder."""
        shutil.rmtree(self.workdir / "step_1", ignore_errors=True)
        (self.workdir / "step_1").mkdir()

    def commands(self):
        """Arguments of each step as a user runs it, on few rows: for its memory."""
        common_flags = [
            "--workdir",
            self.workdir,
            "--device",
            str(self.run.device),
            "--precision",
            self.run.precision,
        ]
        train_refiner = ["Train_stage_2.py", *common_flags, "--recipe", "original"]
        train_refiner += ["--joints", JOINTS[0]]
        return {
            "1": ["LSP_data.py", *self.source, "--workdir", self.workdir / "step_1"],
            "2": ["Train_stage_1.py", *common_flags, "--weights", "none", *few(192)],
            "4": ["Generate_train_output.py", *common_flags],
            "5": [*train_refiner, *few(30)],
            "6": ["test_stage_2.py", *common_flags],
        }


def few(row_count):
    """Flags of one epoch of so many rows."""
    return ["--epochs", "1", "--rows", str(row_count)]


def refiner(joint=0):
    """The original's refiner, with which the other ways of steps 5 and 6 can be compared."""
    return Alex_net_c1(14, (joint,), "direct")


def find_photos(path):
    """The real photographs, where they are at hand; else people rendered into `path`.

    Returns the folder, and which of the two it holds.
    """
    real_photos = Path(__file__).resolve().parent.parent.parent / "shared" / "lsp"
    if real_photos.is_dir():
        return real_photos, "real photographs"
    sample.write_sample(path, lsp=600, lspet=300, seed=0)
    return path, "rendered people"
