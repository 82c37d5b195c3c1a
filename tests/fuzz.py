"""Mutation fuzzing of every reader: whatever a file holds, it is read, or refused in one line that
names it.

    python -m tests.fuzz --count 20000

Each case changes a good file (bits, bytes, blocks, lengths, numbers in headers, values in JSON) and
reads it. A finding is any exception but InputError and RunError, a warning (one more line on
stderr), more than 5 s, or 1 GB more memory. Case n of a seed is always the same one.
"""

import argparse
import collections
import contextlib
import faulthandler
import functools
import gzip
import io
import json
import sys
import tarfile
import tempfile
import time
import unittest.mock
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import scipy.io
import torch
from PIL import Image

import MPII_data
from Alexnet_stage_1 import Alexnet_stage_1
from Cascade_1_net import Alex_net_c1
from deeppose import (
    arrays,
    boxes,
    checkpoint,
    coco_writing,
    csv_files,
    dataset_format,
    deltas,
    downloads,
    files,
    heatmaps,
    k2hpd,
    leakage,
    lsp,
    matlab,
    metrics,
    mpii,
    mpii_split,
    networks,
    pretrained,
    runtime,
    to_coco,
    training_plots,
    training_state,
    workdir,
)
from deeppose.dataset import open_dataset
from deeppose.examples import boxing_of
from deeppose.people import Job, Row
from deeppose.recipes import Recipe
from deeppose.refiners import load_refiner
from deeppose.shell import InputError, RunError
from deeppose.skeletons import LSP

RUN = runtime.Runtime(torch.device("cpu"), "fp32")

try:
    import resource
except ImportError:  # Windows: memory is not watched
    resource = None

LONGEST_S = 5
MOST_MEMORY = 1e9  # bytes
EXTREMES = (
    0,
    1,
    -1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**64 - 1,
)
BOMBS = {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
SIDE = 8  # px of the frames
FRAME = {"skeleton": LSP.described(), "frame": [SIDE, SIDE], "margin": 1.0}
STATE_OF_RUN = {"epoch": 3, "settings": {"epochs": 1}, "run": {"code": ""}}
PROVENANCE = (
    STATE_OF_RUN
    | FRAME
    | {
        "network": "small",
        "options": {"head": "direct"},
        "input_size": [SIDE, SIDE],
        "trained_on": {"1": "1,7-9", "2": "7:1-2"},
    }
)
REFINER = STATE_OF_RUN | {
    "network": "Alex_net_c1",
    "joints": ["head"],
    "options": {"head": "integral"},
    "crop_px": 67,
    "crop_scale": 2.0,
    "smallest_crop_px": 40.0,
    "stage": 2,
    "skeleton": LSP.described(),
}
PEOPLE = {"a.jpg": [[0, 0, 90, 90], [9, 9, 30, 50]], "b.jpg": None}
ODD_VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    10**9,
    10**30,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\ud800",
    [],
    {},
    [[]],
    [None],
    {"": 0},
    "lsp",
    "../x",
)


def small_network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))


class Small_stage_1(torch.nn.Module):
    """A stage-1 network that is quickly read."""

    def __init__(self, joint_count, head="direct"):
        super().__init__()
        if head != "direct":
            raise ValueError(head)
        self.joints = torch.nn.Linear(3, 2 * joint_count)

    def forward(self, images):
        joints = self.joints(images.mean((2, 3))).unflatten(1, (-1, 2))
        return heatmaps.Output(joints, heatmaps.unknown_confidence(joints))


@functools.cache
def small_alexnet():
    """The network that a .npz is read into, without linear layers, whose weights would be hundreds
    of megabytes."""
    return Alexnet_stage_1(LSP.joint_count, layers="bvlc")


def npz_bytes():
    arrays = {}
    for name, layer in zip(
        ("conv1", "conv2", "conv3", "conv4", "conv5"), small_alexnet().backbone.convolutions
    ):
        arrays[f"{name}_W"] = np.zeros(tuple(layer.weight.permute(2, 3, 1, 0).shape), np.float32)
        arrays[f"{name}_b"] = np.zeros(tuple(layer.bias.shape), np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def read_npz(path):
    pretrained.load_initial(small_alexnet(), str(path), LSP)


def image_bytes(kind, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def mat_bytes(shape, **options):
    file = io.BytesIO()
    scipy.io.savemat(
        file, {"joints": np.random.default_rng(0).integers(0, 2, shape).astype(float)}, **options
    )
    return file.getvalue()


def mpii_bytes(**options):
    """Annotations of three images in MPII's format: structs in structs, empty arrays, characters,
    cells."""
    points = np.zeros((1, 16), [(field, object) for field in ("x", "y", "id", "is_visible")])
    for joint in range(16):
        points[0, joint] = (
            np.uint8(10 * joint),
            5.5,
            np.uint8(joint),
            ("1", np.uint8(0), np.empty((0, 0)))[joint % 3],
        )
    rect = {
        "x1": np.int16(-3),
        "y1": 4,
        "x2": np.uint8(200),
        "y2": 250.0,
        "annopoints": {"point": points},
        "scale": 2.5,
        "objpos": {"x": np.uint16(300), "y": 80},
    }
    images = np.zeros((1, 3), [("image", object), ("annorect", object)])
    for number, annorect in enumerate(
        (rect, np.empty((0, 0)), {"scale": 1.5, "objpos": rect["objpos"]})
    ):
        images[0, number] = {"name": f"0{number}.jpg"}, annorect
    names = np.array([["Zeichen \u4eba"], ["x"]], object)
    file = io.BytesIO()
    scipy.io.savemat(
        file,
        {"RELEASE": {"annolist": images, "img_train": np.uint8([1, 1, 0]), "act": names}},
        **options,
    )
    return file.getvalue()


def mutate_packed(content, rng):
    """The MATLAB file of one compressed variable with that variable mutated, and packed again."""
    packed = zlib.compress(mutate(zlib.decompress(content[136:]), rng), 1)
    return content[:132] + len(packed).to_bytes(4, "little") + packed


def k2hpd_bytes():
    joints = np.random.default_rng(0).integers(-3, 260, (5, 38))
    return b"".join(
        b"\0" * (n % 3) + f"{n:08d}.png {','.join(map(str, row))}\n".encode()
        for n, row in enumerate(joints)
    )


def zip_bytes(labels, compression):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("joints.mat", labels)
        for number in (1, 2):
            archive.writestr(f"images/im000{number}.jpg", image_bytes("JPEG"))
    return file.getvalue()


def bomb_bytes(labels, compression, more=50_000_000):
    """A zip whose labels declare their own size and checksum, but are followed by `more` zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("joints.mat", labels + bytes(more))
        entry = archive.getinfo("joints.mat")
        entry.file_size = len(labels)
        entry.CRC = zlib.crc32(labels)
    return file.getvalue()


def torch_bytes(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_zip(path):
    photo_set = lsp.open_set(path.parent, lsp.LSP_NUMBER)
    for number, (name, opener) in photo_set.openers.items():
        if number <= len(photo_set.joints):
            row = Row(photo_set.joints[number - 1])
            Job(
                "train", photo_set.number, number, name, f"{photo_set.place}/{name}", opener, (row,)
            ).read()


def read_mpii(path):
    """Both readers of the file: the one may refuse what the other reads."""
    matlab.read(path, lambda: open(path, "rb"), "RELEASE")
    use_mpii(path)


def use_mpii(path):
    """Read it, and plan the rows of its persons, and write them, as the scripts do."""
    person_set = MPII_data.PersonSet(mpii.read_file(path), path.parent)
    for how in mpii_split.SPLITS:
        train, test = mpii_split.split(person_set.people, person_set.photo_folder, how)
        MPII_data.name_boxless([*train, *test])
        parts = {"train": MPII_data.by_image(train), "test": MPII_data.by_image(test)}
        MPII_data.plan(parts, person_set.photo_folder, None)
    coco_writing.write(path.parent / "coco.json", to_coco.convert_mpii(path))


def tar_bytes():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in (
            ("README.md", b"x" * 700),
            (f"mpii/{mpii.FILE_NAME}", mpii_bytes(do_compression=True)),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def mutate_tar(content, rng):
    """The .tar.gz with what it holds mutated, and packed again."""
    return gzip.compress(mutate(gzip.decompress(content), rng), 1)


def state_options():
    return argparse.Namespace(resume=True, save_minutes=5, keep_epochs=None, epochs=1)


def read_state(path):
    network = small_network()
    state = training_state.TrainingState(
        path.parent / "model.pt",
        {"a": 1},
        RUN,
        network,
        torch.optim.Adagrad(network.parameters()),
        state_options(),
    )
    assert state.epoch + state.step + state.total + state.seconds is not None


def state_bytes(folder):
    network = small_network()
    optimiser = torch.optim.Adagrad(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    state = training_state.TrainingState(
        folder / "model.pt", {"a": 1}, RUN, network, optimiser, state_options()
    )
    state.best_weights = checkpoint.weights_of(network)
    state.save()
    content = state.path.read_bytes()
    state.path.unlink()
    return content


def make_dataset(folder):
    """Write step 1's files of two images of SIDE pixels a part; the content of dataset.json."""
    made = {}
    for part in ("train", "test"):
        made[f"{part}_images.npy"] = np.zeros((2, SIDE, SIDE, 3), np.uint8)
        made[f"{part}_labels.npy"] = np.arange(56, dtype=np.float32).reshape(2, 28) % SIDE
        numbers = np.arange(2) if part == "train" else np.arange(2, 4)
        made[f"{part}_rows.npy"] = np.array(
            [(1, n, 0, 0, 0, 20, 20, 0, np.nan, np.nan, 1) for n in numbers], float
        )
        arrays.save_names(
            folder / f"{part}_photographs.txt", [f"images_1/im000{n}.jpg" for n in numbers]
        )
    for name, array in made.items():
        arrays.save(folder / name, array)
    facts = FRAME | {
        "format": dataset_format.FORMAT,
        "columns": list(dataset_format.COLUMNS),
        "sets": {"1": "LSP"},
        "rows": {"train": 2, "test": 2},
        "held_out_rows": [0],
        "mean_pose_px": [4.0] * 28,
        "digests": {name: arrays.digest(folder / name) for name in made},
        "fingerprints": {name: arrays.fingerprint(folder / name) for name in made},
    }
    files.save_json(folder / "dataset.json", facts)
    return (folder / "dataset.json").read_bytes()


def read_dataset(path):
    """Open it, and use it as the steps do."""
    data = open_dataset(path.parent)
    skeleton = data.skeleton
    true = data.test_labels.astype(float)
    assert (
        np.isfinite(data.normalised(true)).all()
        and np.isfinite(data.to_photographs(true, "test")).all()
    )
    try:
        scores = metrics.score(true + 1, true, skeleton, data.sizes("test"))
    except ValueError as error:  # as the steps do
        raise InputError(f"{path}: {error}") from None
    metrics.chosen(scores, skeleton)
    metrics.chosen_name(skeleton)
    metrics.headline(scores, skeleton)
    boxing_of(Recipe(), skeleton).sides_px(true, skeleton)
    assert len(skeleton.flip) == skeleton.joint_count and all(
        len(bone) == 2 for bone in skeleton.bone_ends
    )
    assert data.seen_in_training >= 0


def read_photographs(path):
    assert len(open_dataset(path.parent).photographs("test")) == 2


def json_bytes(content):
    return json.dumps(content).encode()


def curves_bytes():
    lines = [training_plots.STAGE_1_CURVES] + [
        [1 / epoch] * len(training_plots.STAGE_1_CURVES) for epoch in (1, 2, 3)
    ]
    return "\n".join(",".join(map(str, line)) for line in lines).encode()


def read_curves(path):
    curves = csv_files.load_numbers(path, training_plots.STAGE_1_CURVES)
    assert all(len(column) for column in curves.values())


def read_boxes(path):
    for people in boxes.read(path, [Path("a.jpg"), Path("b.jpg")]):
        if people is not None:
            boxes.check_against(boxes.as_array(people, path), (300, 200), path)


def read_provenance(path):
    weights = path.with_suffix(".pt")
    if not weights.exists():
        torch.save(Small_stage_1(LSP.joint_count).state_dict(), weights)
    data = open_dataset(path.parent)
    with unittest.mock.patch.dict(networks.NETWORKS, small=(Small_stage_1, {})):
        model, facts = networks.load(path.parent, RUN, data)
    model.network(model.view(torch.zeros(1, 3, SIDE, SIDE)))
    leakage.check_model(weights, data)
    files.save_json(path.with_name("photo_pose.json"), facts)
    training_state.finished(weights, {"epochs": 1}, True)


def read_refiner(path):
    weights = path.with_suffix(".pt")
    if not weights.exists():
        torch.save(
            Alex_net_c1(LSP.joint_count, (LSP.index("head"),), crop_px=67).state_dict(), weights
        )
    refiner = load_refiner(path.parent, "head", LSP, RUN)
    refiner.gain(LSP.index("head"))
    sides = refiner.boxing.sides_px(np.arange(28.0).reshape(1, 14, 2), LSP)
    assert np.isfinite(sides).all() and (sides > 0).all()
    training_state.finished(weights, {"epochs": 1}, True)


def output_bytes(folder):
    """train_output.json, with the array beside it."""
    data = open_dataset(folder)
    workdir.save_output(
        folder / "train_output.npy", np.zeros((2, 14, 2), np.float32), workdir.origin(folder, data)
    )
    return (folder / "train_output.json").read_bytes()


def read_output(path):
    data = open_dataset(path.parent)
    workdir.load_output(path.parent, data)
    workdir.stale_refiners(path.parent, data, 2)


def deltas_bytes(folder):
    """deltas.json, with the array beside it."""
    np.save(folder / "deltas.npy", np.zeros((14, deltas.DRAWN, 2), np.float32))
    return json_bytes({"skeleton": LSP.name, "joints": list(LSP.joints), "frame": [SIDE, SIDE]})


def read_deltas(path):
    deltas.load(path.parent, open_dataset(path.parent))


def load_weights(path):
    checkpoint.load_weights(
        small_network(), checkpoint.read_weights(path, "step 2"), path, "step 2"
    )


def seeds(folder):
    """name -> (file name, good bytes, what reads it)."""
    weights = small_network().state_dict()
    labels = mat_bytes((3, 14, 2))
    return {
        ".npy labels": (
            "a.npy",
            npy_bytes(np.ones((5, 28), np.float32)),
            lambda path: np.array(arrays.load(path, np.float32, (5, 28), "step 1")),
        ),
        ".npy images": (
            "b.npy",
            npy_bytes(np.ones((2, 8, 8, 3), np.uint8)),
            lambda path: np.array(arrays.load(path, np.uint8, (None, 8, 8, 3), "step 1")),
        ),
        "dataset.json": ("dataset.json", make_dataset(folder), read_dataset),
        "photographs": (
            "test_photographs.txt",
            (folder / "test_photographs.txt").read_bytes(),
            read_photographs,
        ),
        ".mat": (
            "joints.mat",
            labels,
            lambda path: lsp.read_joints(path, lambda: open(path, "rb"), 1),
        ),
        ".mat compressed": (
            "joints_2.mat",
            mat_bytes((14, 3, 50), do_compression=True),
            lambda path: lsp.read_joints(path, lambda: open(path, "rb"), 2),
        ),
        ".mat structs": ("mpii.mat", mpii_bytes(), read_mpii),
        ".mat structs compressed": ("mpii_packed.mat", mpii_bytes(do_compression=True), read_mpii),
        ".mat in .tar.gz": ("mpii.tar.gz", tar_bytes(), use_mpii),
        "K2HPD text": ("train_annos.txt", k2hpd_bytes(), k2hpd.read_annotations),
        "zip": ("lsp_dataset.zip", zip_bytes(labels, zipfile.ZIP_STORED), read_zip),
        "zip compressed": (
            "lsp_dataset_original.zip",
            zip_bytes(labels, zipfile.ZIP_DEFLATED),
            read_zip,
        ),
        "JPEG": (
            "im1.jpg",
            image_bytes("JPEG"),
            lambda path: downloads.read_image(path, lambda: open(path, "rb")),
        ),
        "JPEG progressive": (
            "im2.jpg",
            image_bytes("JPEG", progressive=True),
            lambda path: downloads.read_image(path, lambda: open(path, "rb")),
        ),
        "PNG": (
            "im3.jpg",
            image_bytes("PNG"),
            lambda path: downloads.read_image(path, lambda: open(path, "rb")),
        ),
        "boxes.json": ("boxes.json", json_bytes(PEOPLE), read_boxes),
        "model_1.json": ("model_1.json", json_bytes(PROVENANCE), read_provenance),
        "model_head.json": ("model_head.json", json_bytes(REFINER), read_refiner),
        "train_output.json": ("train_output.json", output_bytes(folder), read_output),
        "deltas.json": ("deltas.json", deltas_bytes(folder), read_deltas),
        "curves": ("curves_stage_1.csv", curves_bytes(), read_curves),
        "checkpoint": ("model_1.pt", torch_bytes(weights), load_weights),
        "checkpoint, old format": (
            "model_2.pt",
            torch_bytes(weights, _use_new_zipfile_serialization=False),
            load_weights,
        ),
        ".npz weights": ("bvlc.npz", npz_bytes(), read_npz),
        "training state": ("model.resume.pt", state_bytes(folder), read_state),
    }


def mutate(content, rng):
    """The bytes with one to six changes; half of them in the first 300 bytes, where headers are."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 7)):
        place = int(
            rng.integers(0, max(1, min(len(content), 300) if rng.random() < 0.5 else len(content)))
        )
        length = int(rng.integers(1, 64))
        match rng.integers(0, 8):
            case 0 if content:
                content[place % len(content)] ^= 1 << int(rng.integers(0, 8))
            case 1:
                content[place : place + length] = rng.bytes(length)
            case 2:
                del content[place : place + length]
            case 3:
                content[place:place] = rng.bytes(length)
            case 4:
                del content[place:]
            case 5:
                content[place:place] = content[place : place + 8 * length]  # a block twice
            case 6:
                size = int(rng.choice((1, 2, 4, 8)))
                number = EXTREMES[rng.integers(len(EXTREMES))] % 2 ** (8 * size)
                content[place : place + size] = number.to_bytes(
                    size, ("little", "big")[rng.integers(2)]
                )
            case 7:  # a number in a text header
                digits = [k for k in range(min(len(content), 300)) if chr(content[k]).isdigit()]
                if digits:
                    k = digits[rng.integers(len(digits))]
                    content[k : k + 1] = str(EXTREMES[rng.integers(len(EXTREMES))]).encode()
    return bytes(content)


def mutate_json(content, rng):
    """The JSON with one value, wherever it stands, replaced by an odd one or removed."""
    root = json.loads(content)
    node, key = {"": root}, ""
    while (
        isinstance(node[key], (dict, list))
        and node[key]
        and (node[key] is root or rng.random() < 0.6)
    ):
        node = node[key]
        key = (
            list(node)[rng.integers(len(node))]
            if isinstance(node, dict)
            else int(rng.integers(len(node)))
        )
    if rng.random() < 0.1:
        del node[key]
    else:
        node[key] = ODD_VALUES[rng.integers(len(ODD_VALUES))]
    return json.dumps(root).encode()


MUTATIONS = {
    "dataset.json": mutate_json,
    "mpii_packed.mat": mutate_packed,
    "mpii.tar.gz": mutate_tar,
}  # beside that of any bytes


def peak_memory():
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def one_case(path, content, read):
    """Read a broken file: the outcome ("read", "refused"), and None or the finding."""
    path.write_bytes(content)
    # a busy machine is no hang
    before, began, outcome, found = peak_memory(), time.process_time(), "read", None
    faulthandler.dump_traceback_later(60 * LONGEST_S, exit=True)  # one that nothing else ends
    try:
        with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(None):
            warnings.simplefilter("always")
            read(path)
    except (InputError, RunError) as error:
        outcome = "refused"
        if path.name not in str(error) and path.parent.name not in str(error):
            found = f"the file is not named: {error}"
    except Exception as error:
        outcome, found = "crashed", f"{type(error).__name__}: {error}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    if warned:
        found = f"a warning: {warned[0].message}"
    if time.process_time() - began > LONGEST_S:
        found = f"took {time.process_time() - began:.0f} s"
    if peak_memory() - before > MOST_MEMORY:
        found = f"took {(peak_memory() - before) / 1e9:.1f} GB"
    return outcome, found


def fuzz(count, seed=0):
    """Run `count` cases over all readers in turn; returns counts {reader: {outcome: n}} and the
    findings."""
    counts, findings = collections.defaultdict(collections.Counter), []
    with tempfile.TemporaryDirectory() as folder:
        readers = {}
        for k, name in enumerate(seeds(Path(folder))):
            own = Path(folder) / f"reader {k}"
            own.mkdir()
            readers[name] = own, seeds(own)[name]
        for own, (file_name, content, read) in readers.values():
            outcome, found = one_case(own / file_name, content, read)
            assert (outcome, found) == ("read", None), f"{file_name}: {found}"
        for name, compression in BOMBS.items():
            content = bomb_bytes(mat_bytes((3, 14, 2)), compression)
            outcome, found = one_case(Path(folder) / "lsp_dataset.zip", content, read_zip)
            counts["zip bomb"][outcome] += 1
            if found or outcome != "refused":
                findings.append(f"a zip bomb, {name}: {found or outcome}")
        for n in range(count):
            name = list(readers)[n % len(readers)]
            own, (file_name, content, read) = readers[name]
            rng = np.random.default_rng((seed, n))
            special = MUTATIONS.get(file_name)
            mutation = special if special and rng.random() < 0.7 else mutate
            outcome, found = one_case(own / file_name, mutation(content, rng), read)
            counts[name][outcome] += 1
            if found:
                findings.append(f"{name}, case {n} of seed {seed}: {found}")
    return counts, findings


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    began = time.monotonic()
    counts, findings = fuzz(options.count, options.seed)
    for name, outcomes in counts.items():
        print(
            f"{name:<24}"
            + "".join(f"{outcome:>10} {n:>6}" for outcome, n in sorted(outcomes.items()))
        )
    print(*findings[:50], sep="\n")
    print(
        f"{options.count} cases, {len(findings)} findings, {time.monotonic() - began:.0f} s, "
        f"peak memory {peak_memory() / 1e9:.2f} GB"
    )
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
