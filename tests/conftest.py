"""Fixtures of all tests: a small rendered data set, and the arrays that step 1 makes of it."""

import five_joints_data
import pytest
from helpers import SHARED

import LSP_data
from deeppose import sample
from deeppose.dataset import open_dataset

REAL_PHOTOS = SHARED / "lsp"


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A rendered set: 10 + 10 LSP images for training and testing, 14 LSPe images."""
    folder = tmp_path_factory.mktemp("photos")
    sample.write_sample(folder, lsp=20, lspet=14, seed=3)
    return folder


@pytest.fixture(scope="session")
def workdir(photos, tmp_path_factory):
    """A working directory after step 1."""
    folder = tmp_path_factory.mktemp("workdir")
    LSP_data.main(["--source", str(photos), "--workdir", str(folder)])
    return folder


@pytest.fixture
def data(workdir):
    return open_dataset(workdir)


@pytest.fixture(scope="session")
def real_photos():
    """The real Leeds Sports images; the test is skipped where they are not at hand."""
    if not REAL_PHOTOS.is_dir():
        pytest.skip("the real Leeds Sports images are not at hand")
    return REAL_PHOTOS


@pytest.fixture(scope="session")
def real_mpii():
    """The folder of MPII's real annotations; the test is skipped where they are not at hand."""
    if not (SHARED / "mpii").is_dir():
        pytest.skip("MPII's annotations are not at hand")
    return SHARED / "mpii"


@pytest.fixture(scope="session")
def real_k2hpd():
    """The folder of K2HPD's real annotations; the test is skipped where they are not at hand."""
    if not (SHARED / "k2hpd").is_dir():
        pytest.skip("K2HPD's annotations are not at hand")
    return SHARED / "k2hpd"


@pytest.fixture
def own_workdir(workdir, tmp_path):
    """A copy of the prepared working directory that a test may train in."""
    for path in workdir.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="module")
def dolls(tmp_path_factory):
    """A made-up data set after step 1, its pictures in a folder: five joints, frames that are no
    squares and show a margin."""
    folder = tmp_path_factory.mktemp("dolls")
    (folder / "pictures").mkdir()
    five_joints_data.main(["--workdir", str(folder), "--source", str(folder / "pictures")])
    return folder
