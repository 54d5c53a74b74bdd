"""What is fetched: versions and checksums of the distributions that hold the suites."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["AIOGRAM", "AIOGRAM_DIALOG", "CONFORMANCE", "GENKIT", "LANGGRAPH", "Distribution", "fetched"]

_CACHE: Final = Path(__file__).parents[2] / ".tools" / "upstream"


class Distribution(NamedTuple):
    """One file of a package registry. `is_source`: the sdist, because the wheel leaves the tests out."""

    name: str
    version: str
    sha256: str
    is_source: bool

    @property
    def folder(self) -> Path:
        """Where it is unpacked; another file is another folder."""
        return _CACHE / f"{self.name}-{self.version}-{self.sha256[:12]}"


CONFORMANCE: Final = Distribution(
    "langgraph-checkpoint-conformance",
    "0.0.2",
    "c112ddc0416b097c90a145fd1908ba570db4cba209e1ae0330205e9f466ad4f9",
    is_source=False,
)
LANGGRAPH: Final = Distribution(
    "langgraph",
    "1.2.22",
    "32700dc34b5cf9ebb397258c2e56392f017d4dbc51c9591339225c3c1b7b5126",
    is_source=True,
)
GENKIT: Final = Distribution(
    "genkit",
    "0.12.0",
    "996d26d80b9fe65699fc7851b88a41463daa10521ca43a26d4714fdd46ac6247",
    is_source=True,
)
AIOGRAM: Final = Distribution(
    "aiogram",
    "3.31.0",
    "f2c5064fe52d88898c86af62261c405440a014216e45dd99b2c6555a5602ce30",
    is_source=True,
)
AIOGRAM_DIALOG: Final = Distribution(
    "aiogram-dialog",
    "2.6.0",
    "766ad1ca994b9c33a54a9a5367bf6165041236b8dfec2aac5d334e55d64805f0",
    is_source=True,
)


def fetched(wanted: Distribution) -> Path:
    """Return the folder of an unpacked distribution, fetched if it is not there yet.

    Raises:
        CalledProcessError: it cannot be fetched, or is not the file that was pinned; pip has said why.
    """
    if not wanted.folder.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            unpacked = _unpacked(_downloaded(wanted, Path(scratch)), Path(scratch) / "unpacked")
            shutil.move(unpacked, wanted.folder)
    return wanted.folder


def _downloaded(wanted: Distribution, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wanted.name}=={wanted.version} --hash=sha256:{wanted.sha256}\n", encoding="utf-8")
    kind = "--no-binary" if wanted.is_source else "--only-binary"
    flags = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", kind, ":all:"]
    target = folder / "downloaded"
    command = [sys.executable, "-m", "pip", "download", *flags, "--dest", str(target), "--requirement"]
    subprocess.run([*command, str(requirements)], check=True)
    (file,) = target.iterdir()
    return file


def _unpacked(file: Path, folder: Path) -> Path:
    """Unpack a wheel, or the one folder that an sdist holds."""
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)  # noqa: S202  its checksum is pinned
        return folder
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    (inner,) = folder.iterdir()
    return inner
