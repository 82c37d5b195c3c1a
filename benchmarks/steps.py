"""The ways to do each step's work: this project's, the plain one, the bare network or disk."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import LSP_data
import Train_stage_1
import Train_stage_2
from benchmarks import bare, plain
from benchmarks.bare import STEPS
from Cascade_1_net import CROP_PX, Alex_net_c1
from deeppose import arrays, cascade, checkpoint, deltas, geometry, training_state
from deeppose.examples import Boxing, Examples
from deeppose.loader import Frames
from deeppose.networks import DEFAULT, Stage_1
from LSP_data import FRAME
from Resnet_stage_1 import Resnet_stage_1

PLAIN_SHARE = 4  # the plain way does that many times fewer rows in a round
JOINTS = ("left_wrist", "right_ankle", "neck")  # refiners in step 6's round


def refiner(joint=0):
    """The original's refiner, with which the other ways of steps 5 and 6 can be compared."""
    return Alex_net_c1(14, (joint,), "direct")


class Bench:
    """A prepared working directory, and the ways to do each step in it: {name: function that does
    rows}."""

    def __init__(self, photos, workdir, limit, run):
        self.photos = photos
        self.workdir = workdir
        self.run = run
        self.source = ["--source", str(photos), "--limit", str(limit)]
        LSP_data.main([*self.source, "--workdir", str(workdir)])
        self.dataset = arrays.open_dataset(workdir)
        self.frames = Frames(self.dataset.train_images, run.device)
        self.test_frames = Frames(self.dataset.test_images, run.device)
        # what step 4 would write: the truth, or the frame's middle, and an error of some pixels
        labels = self.dataset.train_labels
        noise = np.random.default_rng(0).normal(0, 8, labels.shape)
        predicted = np.nan_to_num(labels, nan=113.5) + noise  # (N, J, 2) px
        self.predicted = predicted.astype(np.float32)
        np.save(workdir / "train_output.npy", self.predicted.reshape(len(self.predicted), -1))

    def write_models(self, number):
        """The checkpoints that a step reads, with random weights."""
        if number not in ("4", "6"):
            return
        stage_1 = self.model(self.stage_1())
        self.write_model(
            "1", stage_1.network, stage_1.described() | {"options": {"head": "integral"}}
        )
        if number != "6":
            return
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
        """One checkpoint, unless it is there."""
        path = self.workdir / f"model_{model_name}.pt"
        if not path.exists():
            checkpoint.save(path, checkpoint.weights_of(network), provenance)

    def model(self, network):
        """A network of stage 1, as it sees the frames."""
        dataset = self.dataset
        return Stage_1(
            network, DEFAULT, dataset.skeleton, dataset.frame, dataset.margin, dataset.frame
        )

    def clear(self):
        """Every round of step 1 begins in an empty folder."""
        shutil.rmtree(self.workdir / "step_1", ignore_errors=True)
        (self.workdir / "step_1").mkdir()

    def step_1(self):
        """Rows of arrays from photographs.

        The limit decodes once, resizes and writes, on all cores.
        """
        sets = [
            LSP_data.open_set(self.photos, number)
            for number in (LSP_data.LSP_NUMBER, LSP_data.LSPE_NUMBER)
        ]
        jobs = LSP_data.plan(*sets, LSP_data.parse(self.source), {})
        row_count = sum(len(job.rows) for job in jobs)
        training_count = sum(len(job.rows) for job in jobs if job.part == "train")
        folder = self.workdir / "step_1"

        def ours():
            LSP_data.main([*self.source, "--workdir", str(folder)])
            return row_count

        def limit():
            frames = np.lib.format.open_memmap(
                folder / "limit.npy", "w+", np.uint8, (row_count, *FRAME, 3)
            )

            def fill(job):
                image = job.read()
                first_row = 0 if job.part == "train" else training_count
                for row in job.rows:
                    frame = image.resize(FRAME, Image.Resampling.BILINEAR)
                    frames[first_row + row.number] = np.asarray(frame)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(fill, jobs))
            frames.flush()
            return row_count

        return {"ours": ours, "plain": lambda: plain.prepare(jobs, folder), "limit": limit}

    def stage_1(self):
        """A network of stage 1 with random weights."""
        return Resnet_stage_1(self.dataset.skeleton.joint_count)

    def state(self, options, network, optimiser, average=None):
        """The state of a training that is not resumed."""
        path = self.workdir / "bench.pt"
        return training_state.TrainingState(
            path, {}, self.run, network, optimiser, options, average
        )

    def step_2(self):
        """Frames a second of training stage 1.

        The limit is the bare network on a resident batch.
        """
        run = self.run
        options = Train_stage_1.parse(["--save-minutes", "600"])
        recipe = options.recipe
        examples = Train_stage_1.Examples(self.dataset, options.recipe, self.dataset.frame, run)
        rows = np.random.default_rng(0).permutation(self.dataset.trained_on)[
            : STEPS * options.batch_size
        ]
        network = run.place(self.stage_1())
        adam = recipe.optimiser_of(network, run.device)
        bare_network = run.place(self.stage_1())
        bare_adam = recipe.optimiser_of(bare_network, run.device)
        plain_network = self.stage_1().to(run.device)
        plain_adam = torch.optim.Adam(plain_network.parameters(), recipe.learning_rate)
        state = self.state(options, network, adam, recipe.average_of(network))
        state.about = {"initial_weights": "random"}

        def ours():
            state.step = 0
            Train_stage_1.train_epoch(network, adam, examples, rows, options, state, run)
            return len(rows)

        plain_rows = rows[: max(options.batch_size, len(rows) // PLAIN_SHARE)]
        targets = examples.targets

        def one_by_one():
            return plain.train_stage_1(
                plain_network,
                plain_adam,
                self.dataset.train_images,
                targets,
                plain_rows,
                options.batch_size,
                run.device,
            )

        return {
            "ours": ours,
            "plain": one_by_one,
            "limit": bare.training(
                bare_network, bare_adam, options.batch_size, targets[0].numel(), run
            ),
        }

    def step_4(self):
        """Frames a second of stage 1's predictions (steps 3 and 4)."""
        run = self.run
        network = run.place(self.stage_1())
        plain_network = self.stage_1().to(run.device)
        rows = np.arange(min(512, len(self.dataset.train_images)))

        def ours():
            return len(self.model(network).predict(self.frames, rows, run)[0])

        return {
            "ours": ours,
            "plain": lambda: plain.predict(
                plain_network, self.dataset.train_images, rows[::PLAIN_SHARE], run.device
            ),
            "limit": bare.inference(run.place(self.stage_1()), run),
        }

    def step_5(self):
        """Crops a second of training a refiner.

        The limit is the bare network, crops already cut.
        """
        run = self.run
        options = Train_stage_2.parse(["--save-minutes", "600", "--recipe", "original"])
        joint = self.dataset.skeleton.index(JOINTS[0])
        simulated_errors = np.load(deltas.OWN).astype(float)  # (J, 40, 2) px
        examples = Examples(
            self.dataset,
            self.frames,
            self.predicted,
            (joint,),
            simulated_errors,
            options.recipe,
            options.simulated,
        )
        rows = np.random.default_rng(0).permutation(examples.rows)[: STEPS * options.batch_size]
        network = run.place(refiner(joint))
        adagrad = options.recipe.optimiser_of(network, run.device)
        bare_network = run.place(refiner())
        bare_adagrad = options.recipe.optimiser_of(bare_network, run.device)
        plain_network = plain.alexnet().to(run.device)
        plain_adagrad = torch.optim.Adagrad(
            plain_network.parameters(), options.recipe.learning_rate
        )
        state = self.state(options, network, adagrad)
        crops_a_row = options.simulated + 1

        def ours():
            state.step = 0
            Train_stage_2.train_epoch(
                network, adagrad, examples, rows, JOINTS[0], options, state, run
            )
            return len(rows) * crops_a_row

        def one_by_one():
            return crops_a_row * plain.train_stage_2(
                plain_network,
                plain_adagrad,
                examples,
                self.dataset.train_images,
                rows[: options.batch_size],
                options.batch_size,
                run.device,
            )

        return {
            "ours": ours,
            "plain": one_by_one,
            "limit": bare.training(
                bare_network, bare_adagrad, options.batch_size * crops_a_row, 2, run
            ),
        }

    def step_6(self):
        """Test images a second through stage 1 and some refiners, whose files are read.

        The limit reads none.
        """
        self.write_models("6")
        run = self.run
        dataset = self.dataset
        skeleton = dataset.skeleton
        network = run.place(self.stage_1())
        rows = np.arange(len(dataset.test_images))
        bare_stage_1 = bare.inference(run.place(self.stage_1()), run)
        bare_refiner = bare.inference(run.place(refiner()), run)
        # the plain way refines in the boxes of one joint, around its true position
        plain_network = self.stage_1().to(run.device)
        estimates = np.nan_to_num(dataset.test_labels, nan=100).astype(float)  # (N, J, 2) px
        sides = Boxing(skeleton.crop_scale, 40).sides_px(estimates, skeleton)
        boxes = geometry.box_around(estimates[:, 0], sides)

        def ours():
            joints, confidence = self.model(network).predict(self.test_frames, rows, run)
            cascade.refine_from(
                self.workdir, skeleton, self.test_frames, rows, joints, confidence, run
            )
            return len(rows)

        def limit():
            image_count = bare_stage_1()
            for _ in JOINTS:
                bare_refiner()
            return image_count

        def one_by_one():
            return plain.test_both(
                plain_network,
                self.workdir,
                JOINTS,
                dataset.test_images,
                rows[: 2 * plain.BATCH],
                boxes,
                run.device,
            )

        return {
            "ours": ours,
            "plain": one_by_one,
            "limit": limit,
        }

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
        return {
            "1": ["LSP_data.py", *self.source, "--workdir", self.workdir / "step_1"],
            "2": [
                "Train_stage_1.py",
                *common_flags,
                "--weights",
                "none",
                "--epochs",
                "1",
                "--rows",
                "192",
            ],
            "4": ["Generate_train_output.py", *common_flags],
            "5": [
                "Train_stage_2.py",
                *common_flags,
                "--epochs",
                "1",
                "--rows",
                "30",
                "--joints",
                JOINTS[0],
            ],
            "6": ["test_stage_2.py", *common_flags],
        }


def find_photos(path):
    """The real photographs, where they are at hand; else people rendered into `path`."""
    real_photos = Path(__file__).resolve().parent.parent.parent / "shared" / "lsp"
    if real_photos.is_dir():
        return real_photos, "real photographs"
    from deeppose import sample

    sample.write_sample(path, lsp=600, lspet=300, seed=0)
    return path, "rendered people"
