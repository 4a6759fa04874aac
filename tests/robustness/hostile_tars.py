"""Hostile archives raise a DataError, and nothing is written outside the target.

First come all archives of ``tests/archives.py``, each with one attack; then random ones: several
attacks at random places in valid archives, and damaged headers with valid checksums.
"""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for archives.py

from archives import (
    BAD_MEMBERS,
    BAD_NAMES,
    HOSTILE,
    TRAIN,
    WNIDS,
    everything_in,
    jpeg,
    member,
    tar,
    train_name,
    train_tar,
    val_name,
    write_archives,
    write_class_list,
)

TIMES, SHORT = 5_000, 250
ARCHIVE = {split: f"ILSVRC2012_img_{split}.tar" for split in ("train", "val")}


def hostile_val() -> dict[str, bytes]:
    """Validation archives with one attack each."""
    good = [member(val_name(n).encode(), jpeg(n)) for n in range(2, 9)]
    as_val = (b"n01440764_", b"ILSVRC2012_val_0000000")
    names = {key: member(bad.replace(*as_val), b"evil") for key, bad in BAD_NAMES.items()}
    return {key: tar(*good, bad) for key, bad in {**names, **BAD_MEMBERS}.items()}


def mixed(rng: np.random.Generator) -> bytes:
    """A training archive with one to three attacks in it or in its inner archives."""
    tricks = [*BAD_MEMBERS.values(), *(member(name, b"evil") for name in BAD_NAMES.values())]
    within: dict[str, list[bytes]] = {
        wnid: [member(train_name(wnid, n), jpeg(n)) for n in TRAIN[wnid]] for wnid in WNIDS
    }
    outer: list[bytes] = []
    for _ in range(rng.integers(1, 4)):
        trick = tricks[int(rng.integers(len(tricks)))]
        if rng.random() < 0.5:
            outer.append(trick)
        else:
            members = within[WNIDS[int(rng.integers(len(WNIDS)))]]
            members.insert(int(rng.integers(len(members) + 1)), trick)
    outer += [member(f"{wnid}.tar".encode(), tar(*members)) for wnid, members in within.items()]
    return tar(*(outer[place] for place in rng.permutation(len(outer))))


def damaged(rng: np.random.Generator) -> bytes:
    """A valid training archive with changed headers and valid checksums."""
    content = bytearray(train_tar())
    headers = [at for at in range(0, len(content), 512) if content[at + 257 : at + 262] == b"ustar"]
    for _ in range(rng.integers(1, 4)):
        at = headers[int(rng.integers(len(headers)))]
        field = int(rng.choice([0, 10, 124, 156, 257, 345])) + int(rng.integers(12))
        content[at + field] = int(rng.integers(256))
        block = content[at : at + 512]
        total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
        content[at + 148 : at + 156] = b"%06o\0 " % total
    return bytes(content)


def run(times: int, folder: Path, seed: int) -> str:
    """Try to extract `times` archives; see the module's docstring."""
    rng = np.random.default_rng(seed)
    listed = [("train", name, content) for name, content in HOSTILE.items()]
    listed += [("val", name, content) for name, content in hostile_val().items()]
    (folder / "outside").mkdir()
    root = write_archives(folder / "outside" / "root")
    classes = write_class_list(folder)
    (folder / "outside" / "bystander").write_text("must stay as it is")
    refused = extracted = 0
    for number in range(times):
        if number < len(listed):
            split, name, content = listed[number]
        else:
            split, name = "train", f"random {number}"
            content = mixed(rng) if number % 2 else damaged(rng)
        for one, archive in ARCHIVE.items():
            (root / archive).unlink(missing_ok=True)
            if one == split:
                (root / archive).write_bytes(content)
        if _attempt(root, split, classes, name, must_fail=number < len(listed) or number % 2 == 1):
            extracted += 1
        else:
            refused += 1
    return (
        f"{times:,} archives: {refused:,} refused by name, {extracted:,} with harmless damage "
        f"extracted under official names; 0 bytes outside the target"
    )


def _attempt(root: Path, split: str, classes: Path, name: str, must_fail: bool) -> bool:
    """Extract one archive and check what was written; return whether it was accepted."""
    from minidl.errors import DataError
    from minidl.vision.datasets import ImageNet

    outside = root.parent.parent
    before = everything_in(outside)
    try:
        ImageNet.extract(root, split, class_list=classes, index=root / "index")
    except DataError as error:
        assert ARCHIVE[split] in str(error), f"{name}: {error}"
        assert str(error).isprintable(), f"{name}: {error!r}"
        assert everything_in(outside) == before, f"{name}: something was written"
        return False
    assert not must_fail, f"{name}: was accepted"
    target = root / split
    for path in target.rglob("*"):
        kind, below = path.lstat().st_mode, path.relative_to(target).parts
        assert below[0] in WNIDS and len(below) <= 2, f"{name}: {path}"
        assert stat.S_ISDIR(kind) if len(below) == 1 else stat.S_ISREG(kind), f"{name}: {path}"
        assert len(below) == 1 or below[1].startswith(f"{below[0]}_"), f"{name}: {path}"
    shutil.rmtree(target)
    (root / "index").unlink(missing_ok=True)
    after = everything_in(outside)
    assert {key: value[2] for key, value in after.items()} == {
        key: value[2] for key, value in before.items()
    }, f"{name}: something was written outside the target"
    return True
