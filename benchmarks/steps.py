"""The ways to do each step's work: this project's, the plain one, the bare network or disk."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import LSP_data
import Train_stage_1
import Train_stage_2
from benchmarks import plain
from Cascade_1_net import CROP_PX, Alex_net_c1
from deeppose import arrays, cascade, checkpoint, deltas, geometry, lsp, training_state
from deeppose.examples import Boxing, Examples
from deeppose.frame_examples import FrameExamples
from deeppose.loader import Frames
from deeppose.networks import DEFAULT
from deeppose.stage_1 import Stage_1
from LSP_data import FRAME
from Resnet_stage_1 import Resnet_stage_1

STEPS = 4  # optimiser steps in one round of a training step
PLAIN_SHARE = 4  # the plain way does that many times fewer rows in a round
JOINTS = ("left_wrist", "right_ankle", "neck")  # refiners in step 6's round


def refiner(joint=0):
    """The original's: what the other ways of step 5 and 6 can be compared with."""
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
        self.data = data = open_dataset(workdir)
        self.frames, self.test_frames = (
            Frames(part, run.device) for part in (data.train_images, data.test_images)
        )
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 8, data.train_labels.shape)
        # (N, J, 2) px
        self.predicted = (np.nan_to_num(data.train_labels, nan=113.5) + noise).astype(np.float32)
        np.save(workdir / "train_output.npy", self.predicted.reshape(len(self.predicted), -1))

    def write_models(self, number):
        """The checkpoints that a step reads, with random weights."""
        if number not in ("4", "6"):
            return
        stage_1 = self.model(self.stage_1())
        self.write_model(
            "1", stage_1.network, stage_1.described() | {"options": {"head": "integral"}}
        )
        skeleton = self.data.skeleton
        for name in JOINTS if number == "6" else ():
            facts = {
                "joints": [name],
                "skeleton": skeleton.described(),
                "options": {"head": "direct"},
                "crop_px": CROP_PX,
                "crop_scale": skeleton.crop_scale,
                "smallest_crop_px": 40,
            }
            self.write_model(name, refiner(skeleton.index(name)), facts)

    def write_model(self, name, network, facts):
        """One checkpoint, unless it is there."""
        path = self.workdir / f"model_{name}.pt"
        if not path.exists():
            checkpoint.save(path, checkpoint.weights_of(network), facts)

    def model(self, network):
        """A network of stage 1, as it sees the frames."""
        data = self.data
        return Stage_1(network, DEFAULT, data.skeleton, data.frame, data.margin, data.frame)

    def clear(self):
        """Every round of step 1 begins in an empty folder."""
        shutil.rmtree(self.workdir / "step_1", ignore_errors=True)
        (self.workdir / "step_1").mkdir()

    def step_1(self):
        """Rows of arrays from photographs.

        The limit decodes once, resizes and writes, on all cores.
        """
        sets = [lsp.open_set(self.photos, number) for number in (lsp.LSP_NUMBER, lsp.LSPE_NUMBER)]
        jobs = LSP_data.plan(*sets, LSP_data.parse(self.source), {})
        count = sum(len(job.rows) for job in jobs)
        training = sum(len(job.rows) for job in jobs if job.part == "train")
        folder = self.workdir / "step_1"

        def ours():
            LSP_data.main([*self.source, "--workdir", str(folder)])
            return count

        def limit():
            out = np.lib.format.open_memmap(
                folder / "limit.npy", "w+", np.uint8, (count, *FRAME, 3)
            )

            def fill(job):
                image = job.read()
                start = 0 if job.part == "train" else training
                for row in job.rows:
                    out[start + row.number] = np.asarray(
                        image.resize(FRAME, Image.Resampling.BILINEAR)
                    )

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(fill, jobs))
            out.flush()
            return count

        return {"ours": ours, "plain": lambda: plain.prepare(jobs, folder), "limit": limit}

    def bare_training(self, network, optimiser, batch, outputs):
        """Training steps of a network on one resident batch."""
        run = self.run
        network = network.train()
        images = torch.rand(batch, 3, CROP_PX, CROP_PX, device=run.device, dtype=run.dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        wanted = torch.rand(batch, outputs, device=run.device)
        asked = self.asked(network, batch)

        def limit():
            for _ in range(STEPS):
                optimiser.zero_grad()
                with run.autocast():
                    found = network(images, *asked)
                loss = F.mse_loss(found.joints.flatten(1), wanted)
                loss.backward()
                optimiser.step()
            loss.item()
            return STEPS * batch

        return limit

    def asked(self, network, batch):
        """What a refiner takes beside the crops: their joints."""
        refines = isinstance(network, Alex_net_c1)
        return [torch.zeros(batch, dtype=torch.long, device=self.run.device)] if refines else []

    @torch.inference_mode()
    def bare_inference(self, network, batch=64):
        """A network's outputs for one resident batch, some times."""
        images = torch.rand(
            batch, 3, CROP_PX, CROP_PX, device=self.run.device, dtype=self.run.dtype
        )
        images = images.contiguous(memory_format=torch.channels_last)
        network = network.eval()
        asked = self.asked(network, batch)

        @torch.inference_mode()
        def limit():
            with self.run.autocast():
                for _ in range(STEPS):
                    found = network(images, *asked)
            found.joints.cpu()
            return STEPS * batch

        return limit

    def stage_1(self):
        return Resnet_stage_1(self.data.skeleton.joint_count)

    def state(self, options, network, optimiser, average=None):
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
        examples = FrameExamples(self.data, options.recipe, self.data.frame, run)
        rows = np.random.default_rng(0).permutation(self.data.trained_on)[
            : STEPS * options.batch_size
        ]
        network = run.place(self.stage_1())
        bare = run.place(self.stage_1())
        slow = self.stage_1().to(run.device)
        device = run.device
        adam = recipe.optimiser_of(network, run.device)
        bare_adam = recipe.optimiser_of(bare, run.device)
        slow_adam = torch.optim.Adam(slow.parameters(), recipe.learning_rate)
        state = self.state(options, network, adam, recipe.average_of(network))
        state.about = {"initial_weights": "random"}

        def ours():
            state.step = 0
            Train_stage_1.train_epoch(network, adam, examples, rows, options, state, run)
            return len(rows)

        few = rows[: max(options.batch_size, len(rows) // PLAIN_SHARE)]
        targets = examples.targets
        return {
            "ours": ours,
            "plain": lambda: plain.train_stage_1(
                slow, slow_adam, self.data.train_images, targets, few, options.batch_size, device
            ),
            "limit": self.bare_training(bare, bare_adam, options.batch_size, targets[0].numel()),
        }

    def step_4(self):
        """Frames a second of stage 1's predictions (steps 3 and 4)."""
        run = self.run
        network = self.run.place(self.stage_1())
        slow = self.stage_1().to(self.run.device)
        rows = np.arange(min(512, len(self.data.train_images)))

        def ours():
            return len(self.model(network).predict(self.frames, rows, run)[0])

        return {
            "ours": ours,
            "plain": lambda: plain.predict(
                slow, self.data.train_images, rows[::PLAIN_SHARE], run.device
            ),
            "limit": self.bare_inference(run.place(self.stage_1())),
        }

    def step_5(self):
        """Crops a second of training a refiner.

        The limit is the bare network, crops already cut.
        """
        run = self.run
        options = Train_stage_2.parse(["--save-minutes", "600", "--recipe", "original"])
        joint = self.data.skeleton.index(JOINTS[0])
        drawn = np.load(deltas.OWN).astype(float)
        examples = Examples(
            self.data,
            self.frames,
            self.predicted,
            (joint,),
            drawn,
            options.recipe,
            options.simulated,
        )
        rows = np.random.default_rng(0).permutation(examples.rows)[: STEPS * options.batch_size]
        network = run.place(refiner(joint))
        bare = run.place(refiner())
        slow = plain.alexnet().to(run.device)
        adagrad, bare_adagrad = (
            options.recipe.optimiser_of(one, run.device) for one in (network, bare)
        )
        slow_adagrad = torch.optim.Adagrad(slow.parameters(), options.recipe.learning_rate)
        state = self.state(options, network, adagrad)
        crops = options.simulated + 1

        def ours():
            state.step = 0
            Train_stage_2.train_epoch(
                network, adagrad, examples, rows, JOINTS[0], options, state, run
            )
            return len(rows) * crops

        def one_by_one():
            return crops * plain.train_stage_2(
                slow,
                slow_adagrad,
                examples,
                self.data.train_images,
                rows[: options.batch_size],
                options.batch_size,
                run.device,
            )

        return {
            "ours": ours,
            "plain": one_by_one,
            "limit": self.bare_training(bare, bare_adagrad, options.batch_size * crops, 2),
        }

    def step_6(self):
        """Test images a second through stage 1 and some refiners, whose files are read.

        The limit reads none.
        """
        self.write_models("6")
        run = self.run
        data = self.data
        images = self.data.test_images
        network = run.place(self.stage_1())
        rows = np.arange(len(self.data.test_images))
        estimates = np.nan_to_num(data.test_labels, nan=100).astype(float)
        boxing = Boxing(data.skeleton.crop_scale, 40)
        sides = boxing.sides_px(estimates, data.skeleton)
        boxes = geometry.box_around(estimates[:, 0], sides)
        bare = self.bare_inference(run.place(self.stage_1()))
        bare_refiner = self.bare_inference(run.place(refiner()))

        def ours():
            first, sure = self.model(network).predict(self.test_frames, rows, run)
            cascade.refine_from(
                self.workdir, data.skeleton, self.test_frames, rows, first, sure, run
            )
            return len(rows)

        def limit():
            images_done = bare()
            for _ in JOINTS:
                bare_refiner()
            return images_done

        slow = self.stage_1().to(run.device)
        return {
            "ours": ours,
            "plain": lambda: plain.test_both(
                slow, self.workdir, JOINTS, images, rows[: 2 * plain.BATCH], boxes, run.device
            ),
            "limit": limit,
        }

    def commands(self):
        """Each step as a user runs it, on few rows: for its memory. {step: arguments}"""
        own = [
            "--workdir",
            self.workdir,
            "--device",
            str(self.run.device),
            "--precision",
            self.run.precision,
        ]
        first = ["LSP_data.py", *self.source, "--workdir", self.workdir / "step_1"]
        return {
            "1": first,
            "2": ["Train_stage_1.py", *own, "--weights", "none", "--epochs", "1", "--rows", "192"],
            "4": ["Generate_train_output.py", *own],
            "5": ["Train_stage_2.py", *own, "--epochs", "1", "--rows", "30", "--joints", JOINTS[0]],
            "6": ["test_stage_2.py", *own],
        }


def find_photos(path):
    """The real photographs, where they are at hand; else people rendered into `path`."""
    real = Path(__file__).resolve().parent.parent.parent / "shared" / "lsp"
    if real.is_dir():
        return real, "real photographs"
    from deeppose import sample

    sample.write_sample(path, lsp=600, lspet=300, seed=0)
    return path, "rendered people"
