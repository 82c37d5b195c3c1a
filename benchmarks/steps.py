"""The ways to do each step's work: this project's, the plain one, the bare network or disk.

A step's function takes a Bench and returns {name: function that does rows and returns how many}.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

import LSP_data
import Train_stage_1
import Train_stage_2
from benchmarks import bare, plain
from benchmarks.bare import STEPS
from benchmarks.bench import JOINTS, refiner
from deeppose import cascade, deltas, geometry, lsp
from deeppose.examples import Boxing, Examples
from deeppose.frame_examples import FrameExamples
from deeppose.people import row_numbers
from LSP_data import FRAME

PLAIN_SHARE = 4  # the plain way does that many times fewer rows in a round


def step_1(bench):
    """Rows of arrays from photographs.

    The limit decodes once, resizes and writes, on all cores.
    """
    # the same photographs for all three
    sets = [lsp.open_set(bench.photos, number) for number in (lsp.LSP_NUMBER, lsp.LSPE_NUMBER)]
    jobs = LSP_data.plan(*sets, LSP_data.parse(bench.source))
    row_count = sum(len(job.rows) for job in jobs)
    training_count = sum(len(job.rows) for job in jobs if job.part == "train")
    folder = bench.workdir / "step_1"

    def ours():
        LSP_data.main([*bench.source, "--workdir", str(folder)])
        return row_count

    def limit():
        frames = np.lib.format.open_memmap(
            folder / "limit.npy", "w+", np.uint8, (row_count, *FRAME, 3)
        )

        def fill(job, numbers):
            image = job.read()
            first_row = 0 if job.part == "train" else training_count
            for number in numbers:
                frame = image.resize(FRAME, Image.Resampling.BILINEAR)
                frames[first_row + number] = np.asarray(frame)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, jobs, row_numbers(jobs)))  # a list, so that errors are raised
        frames.flush()
        return row_count

    return {"ours": ours, "plain": lambda: plain.prepare(jobs, folder), "limit": limit}


def step_2(bench):
    """Frames a second of training stage 1.

    The limit is the bare network on a resident batch.
    """
    run = bench.run
    options = Train_stage_1.parse(["--save-minutes", "600"])
    recipe = options.recipe
    examples = FrameExamples(bench.dataset, options.recipe, bench.dataset.frame, run)
    shuffled = np.random.default_rng(0).permutation(bench.dataset.trained_on)
    rows = shuffled[: STEPS * options.batch_size]
    # a network and an optimiser for each way, so that none trains another's
    network = run.place(bench.stage_1())
    adam = recipe.optimiser_of(network, run.device)
    bare_network = run.place(bench.stage_1())
    bare_adam = recipe.optimiser_of(bare_network, run.device)
    plain_network = bench.stage_1().to(run.device)
    plain_adam = torch.optim.Adam(plain_network.parameters(), recipe.learning_rate)
    state = bench.state(options, network, adam, recipe.average_of(network))
    state.about = {"initial_weights": "random"}

    def ours():
        state.step = 0  # else the epoch would be taken for done
        Train_stage_1.train_epoch(network, adam, examples, rows, options, state, run)
        return len(rows)

    plain_rows = rows[: max(options.batch_size, len(rows) // PLAIN_SHARE)]
    targets = examples.targets

    def one_by_one():
        return plain.train_stage_1(
            plain_network,
            plain_adam,
            bench.dataset.train_images,
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


def step_4(bench):
    """Frames a second of stage 1's predictions (steps 3 and 4)."""
    run = bench.run
    network = run.place(bench.stage_1())
    plain_network = bench.stage_1().to(run.device)
    rows = np.arange(min(512, len(bench.dataset.train_images)))

    def ours():
        return len(bench.model(network).predict(bench.frames, rows, run)[0])

    return {
        "ours": ours,
        "plain": lambda: plain.predict(
            plain_network, bench.dataset.train_images, rows[::PLAIN_SHARE], run.device
        ),
        "limit": bare.inference(run.place(bench.stage_1()), run),
    }


def step_5(bench):
    """Crops a second of training a refiner.

    The limit is the bare network, crops already cut.
    """
    run = bench.run
    options = Train_stage_2.parse(["--save-minutes", "600", "--recipe", "original"])
    joint = bench.dataset.skeleton.index(JOINTS[0])
    simulated_errors = np.load(deltas.OWN).astype(float)  # (J, 40, 2) px
    examples = Examples(
        bench.dataset,
        bench.frames,
        bench.predicted,
        (joint,),
        simulated_errors,
        options.recipe,
        options.simulated,
    )
    rows = np.random.default_rng(0).permutation(examples.rows)[: STEPS * options.batch_size]
    # a network and an optimiser for each way, so that none trains another's
    network = run.place(refiner(joint))
    adagrad = options.recipe.optimiser_of(network, run.device)
    bare_network = run.place(refiner())
    bare_adagrad = options.recipe.optimiser_of(bare_network, run.device)
    plain_network = plain.alexnet().to(run.device)
    plain_adagrad = torch.optim.Adagrad(plain_network.parameters(), options.recipe.learning_rate)
    state = bench.state(options, network, adagrad)
    crops_a_row = options.simulated + 1

    def ours():
        state.step = 0
        Train_stage_2.train_epoch(network, adagrad, examples, rows, JOINTS[0], options, state, run)
        return len(rows) * crops_a_row

    def one_by_one():
        return crops_a_row * plain.train_stage_2(
            plain_network,
            plain_adagrad,
            examples,
            bench.dataset.train_images,
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


def step_6(bench):
    """Test images a second through stage 1 and some refiners, whose files are read.

    The limit reads none.
    """
    bench.write_models("6")
    run = bench.run
    dataset = bench.dataset
    skeleton = dataset.skeleton
    network = run.place(bench.stage_1())
    rows = np.arange(len(dataset.test_images))
    bare_stage_1 = bare.inference(run.place(bench.stage_1()), run)
    bare_refiner = bare.inference(run.place(refiner()), run)
    # the plain way refines in the boxes of one joint, around its true position
    plain_network = bench.stage_1().to(run.device)
    estimates = np.nan_to_num(dataset.test_labels, nan=100).astype(float)  # (N, J, 2) px
    sides = Boxing(skeleton.crop_scale, 40).sides_px(estimates, skeleton)
    boxes = geometry.box_around(estimates[:, 0], sides)

    def ours():
        joints, confidence = bench.model(network).predict(bench.test_frames, rows, run)
        cascade.refine_from(
            bench.workdir, skeleton, bench.test_frames, rows, joints, confidence, run
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
            bench.workdir,
            JOINTS,
            dataset.test_images,
            rows[: 2 * plain.BATCH],
            boxes,
            run.device,
        )

    return {"ours": ours, "plain": one_by_one, "limit": limit}
