"""Small handmade archives in ImageNet's format: valid ones, and hostile ones of every kind."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from minidl.vision.datasets import ImageNet

WNIDS = ["n01440764", "n01443537", "n02089867", "n03063599", "n15075141"]  # sorted: labels 0 to 4
WORDS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "Walker hound", "coffee mug", "paper"]
IDS = [4, 2, 5, 1, 3]  # the development kit's numbers of these classes, in a different order
HIERARCHY = {6: ("n00001740", [7, 8]), 7: ("n00015388", [4, 2, 5]), 8: ("n00021939", [1, 3])}
TRAIN = {  # numbers of the training pictures, in the archives' order, which is not sorted
    "n03063599": [17, 3],
    "n01440764": [10026, 9, 123],
    "n15075141": [2],
    "n02089867": [40, 5],
    "n01443537": [1],
}
TRUTH = [4, 2, 2, 5, 3, 1, 4, 3]  # IDs of the validation pictures 1 to 8
LONG_AGO = 1_500_000_000_000_000_000


def jpeg(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


# ------------------------------------------------------------------------------- archives by hand
def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: int | None = None,
) -> bytes:
    """A tar header in which any field may be wrong."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = [
        name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", field, b"%011o\0" % 1,
        b" " * 8, kind, b"\0" * 100, magic, b"\0" * 80, prefix.ljust(155, b"\0"), b"\0" * 12,
    ]  # fmt: skip
    block = b"".join(fields)
    assert len(block) == 512
    total = sum(block) if checksum is None else checksum
    return block[:148] + b"%06o\0 " % total + block[156:]


def member(name: bytes, content: bytes = b"", **fields: object) -> bytes:
    return header(name, **{"size": len(content), **fields}) + pad(content)  # type: ignore[arg-type]


def pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    content = b""
    for key, value in records.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(record) + len(str(len(record)))
        length += len(str(length)) - len(str(len(record)))
        content += str(length).encode() + record
    return member(b"PaxHeaders/x", content, kind=kind)


def train_name(wnid: str, number: int) -> bytes:
    return f"{wnid}_{number}.JPEG".encode()


def inner_tar(wnid: str) -> bytes:
    return tar(*(member(train_name(wnid, n), jpeg(n)) for n in TRAIN[wnid]))


def train_tar() -> bytes:
    return tar(*(member(f"{wnid}.tar".encode(), inner_tar(wnid)) for wnid in TRAIN))


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def val_tar() -> bytes:
    # The official archive isn't sorted either.
    order = [5, 1, 8, 2, 7, 3, 6, 4]
    return tar(*(member(val_name(n).encode(), jpeg(1000 + n)) for n in order))


def meta_mat() -> bytes:
    """``meta.mat`` in the official format: leaves first, then the synsets above them."""
    import scipy.io

    rows = [
        (number, WNIDS[IDS.index(number)], WORDS[IDS.index(number)], "gloss", 0, [], 0, 1300)
        for number in range(1, 6)
    ]
    rows += [
        (number, wnid, f"inner {number}", "gloss", len(children), children, 2 - (number != 6), 0)
        for number, (wnid, children) in HIERARCHY.items()
    ]  # fmt: skip
    names = (
        "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    ).split()
    synsets = np.empty((len(rows), 1), dtype=[(name, object) for name in names])
    for place, row in enumerate(rows):
        synsets[place, 0] = tuple(
            np.array([[v]], dtype=np.float64)
            if isinstance(v, int)
            else (np.array([v], dtype=np.float64) if isinstance(v, list) else v)
            for v in row
        )
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def truth_text(ids: list[int] = TRUTH) -> bytes:
    return "".join(f"{number}\n" for number in ids).encode()


def kit_tar(meta: bytes, truth: bytes) -> bytes:
    kit = b"ILSVRC2012_devkit_t12/"
    return gzip.compress(
        tar(
            member(kit, kind=b"5"),
            member(kit + b"readme.txt", b"read me"),
            member(kit + b"data/", kind=b"5"),
            member(kit + b"data/meta.mat", meta),
            member(kit + b"data/ILSVRC2012_validation_ground_truth.txt", truth),
        )
    )


def write_class_list(root: Path) -> Path:
    path = root / "classes.txt"
    rows = zip(IDS, WNIDS, WORDS, strict=True)
    path.write_text("".join(f"{number} {wnid} {words}\n" for number, wnid, words in rows))
    return path


def settle(root: Path) -> None:
    """Make everything look old, so that an index may be written."""
    for folder, _, files in os.walk(root):
        for name in [".", *files]:
            os.utime(os.path.join(folder, name), ns=(LONG_AGO, LONG_AGO))


def write_archives(root: Path, meta: bytes = b"", truth: bytes = truth_text()) -> Path:
    root.mkdir(exist_ok=True)
    (root / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    (root / "ILSVRC2012_img_val.tar").write_bytes(val_tar())
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(kit_tar(meta, truth))
    settle(root)
    return root


def write_folders(root: Path) -> Path:
    for wnid, numbers in TRAIN.items():
        (root / "train" / wnid).mkdir(parents=True)
        for n in numbers:
            (root / "train" / wnid / train_name(wnid, n).decode()).write_bytes(jpeg(n))
    return root


def write_flat_val(root: Path) -> Path:
    (root / "val").mkdir(parents=True)
    for n in range(1, len(TRUTH) + 1):
        (root / "val" / val_name(n)).write_bytes(jpeg(1000 + n))
    return root


# ------------------------------------------------------------------------------ expected contents
EXPECTED_TRAIN = [  # by class and then by name, as sorting text does it
    ("train/n01440764/n01440764_10026.JPEG", 0),
    ("train/n01440764/n01440764_123.JPEG", 0),
    ("train/n01440764/n01440764_9.JPEG", 0),
    ("train/n01443537/n01443537_1.JPEG", 1),
    ("train/n02089867/n02089867_40.JPEG", 2),
    ("train/n02089867/n02089867_5.JPEG", 2),
    ("train/n03063599/n03063599_17.JPEG", 3),
    ("train/n03063599/n03063599_3.JPEG", 3),
    ("train/n15075141/n15075141_2.JPEG", 4),
]


def relative(data: ImageNet) -> list[tuple[str, int]]:
    return [(os.path.relpath(path, data.root), label) for path, label in data.samples]


def assert_train(data: ImageNet) -> None:
    assert relative(data) == EXPECTED_TRAIN
    assert data.targets == [label for _, label in EXPECTED_TRAIN]
    for index, (path, label) in enumerate(EXPECTED_TRAIN):
        number = int(path.split("_")[1].removesuffix(".JPEG"))
        picture, found = data[index]
        expected = Image.open(io.BytesIO(jpeg(number)))
        assert found == label
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


# --------------------------------------------------------------------------------- hostile archives
PICTURE = b"n01440764_1.JPEG"
BAD_NAMES = {
    "absolute": b"/n01440764_1.JPEG",
    "parent": b"../n01440764_1.JPEG",
    "parents in the middle": b"a/../../../n01440764_1.JPEG",
    "hidden parent": b"./../n01440764_1.JPEG",
    "parent as the name": b"..",
    "no name": b"",
    "backslashes": b"..\\..\\n01440764_1.JPEG",
    "drive": b"C:\\n01440764_1.JPEG",
    "home": b"~/n01440764_1.JPEG",
    "newline at the end": b"n01440764_1.JPEG\n",
    "newline": b"n01440764\n_1.JPEG",
    "zero byte": b"n01440764_1.JPEG\0/../x",
    "space": b"n01440764_1.JPEG ",
    "other extension": b"n01440764_1.JPEG.sh",
    "other letters": b"n01440764_x.JPEG",
    "foreign digits": "n01440764_\u0661.JPEG".encode(),
    "not UTF-8": b"n01440764_\xff1.JPEG",
    "folder's name": b"n01440764_1.JPEG/",
    "other class": b"n09999999_1.JPEG",
    "archive in the archive": b"n01440764.tar",
}
BAD_MEMBERS: dict[str, bytes] = {
    "symbolic link": member(PICTURE, kind=b"2"),
    "hard link": member(PICTURE, kind=b"1"),
    "character device": member(PICTURE, kind=b"3"),
    "block device": member(PICTURE, kind=b"4"),
    "pipe": member(PICTURE, kind=b"6"),
    "contiguous": member(PICTURE, b"x", kind=b"7"),
    "sparse": member(PICTURE, b"x", kind=b"S"),
    "unknown kind": member(PICTURE, b"x", kind=b"Z"),
    "GNU long name": member(b"././@LongLink", b"../x", kind=b"L") + member(PICTURE, b"x"),
    "GNU long link": member(b"././@LongLink", b"../x", kind=b"K") + member(PICTURE, b"x"),
    "GNU volume": member(b"x", kind=b"V"),
    "GNU dump of a folder": member(b"x", b"Yn01440764_1.JPEG\0", kind=b"D"),
    "folder with content": member(b"a/", b"x" * 512, kind=b"5"),
    "PAX path": pax(path="../x") + member(PICTURE, b"x"),
    "PAX path for all": pax(b"g", path="../x") + member(PICTURE, b"x"),
    "PAX size": pax(size="999999") + member(PICTURE, b"x"),
    "PAX link": pax(linkpath="/etc/passwd") + member(PICTURE, b"x"),
    "PAX sparse": pax(GNU__sparse__major="1", GNU__sparse__name="x") + member(PICTURE, b"x"),
    "PAX real size": pax(SCHILY__realsize="1") + member(PICTURE, b"x"),
    "PAX without an end": member(b"x", b"99999 mtime=1\n", kind=b"x") + member(PICTURE, b"x"),
    "PAX of length zero": member(b"x", b"0 mtime=1\n", kind=b"x") + member(PICTURE, b"x"),
    "PAX without sense": member(b"x", b"\xff" * 700, kind=b"x") + member(PICTURE, b"x"),
    "PAX too long": member(b"x", b"7 gid=\n" * 10000, kind=b"x") + member(PICTURE, b"x"),
    "prefix up": member(PICTURE, b"x", prefix=b"../.."),
    "prefix to the root": member(PICTURE, b"x", prefix=b"/"),
    "twice": member(PICTURE, b"x") + member(PICTURE, b"y"),
    "twice by another way": member(PICTURE, b"x") + member(b"./a/" + PICTURE, b"y"),
    "size beyond the end": header(PICTURE, 0o77777777777),
    "size a little beyond": header(PICTURE, 4096) + b"x" * 512,
    "size of minus one": header(PICTURE, b"\xff" * 12),
    "size in base 256": header(PICTURE, b"\x80" + bytes(10) + b"\x01") + pad(b"x"),
    "size without digits": header(PICTURE, b"99999999999\0"),
    "size with a sign": header(PICTURE, b"-0000000001\0"),
    "wrong checksum": member(PICTURE, b"x", checksum=1),
    "text": b"<html>404</html>".ljust(512),
    "half a header": header(PICTURE)[:200],
}  # fmt: skip


def hostile_inner() -> Iterator[tuple[str, bytes]]:
    for name, bad in BAD_NAMES.items():
        yield f"{name} in a class", tar(member(b"n01440764_7.JPEG", jpeg(7)), member(bad, b"evil"))
    for name, bad_member in BAD_MEMBERS.items():
        yield f"{name} in a class", tar(member(b"n01440764_7.JPEG", jpeg(7)), bad_member)
    yield "no end", member(PICTURE, jpeg(7))
    yield "empty file", b""


def with_class(inner: bytes) -> bytes:
    """The training archive with `inner` as the first class's archive."""
    others = [member(f"{w}.tar".encode(), inner_tar(w)) for w in WNIDS[1:]]
    return tar(*others, member(b"n01440764.tar", inner))


def hostile_outer() -> Iterator[tuple[str, bytes]]:
    classes = [member(f"{wnid}.tar".encode(), inner_tar(wnid)) for wnid in WNIDS]
    for name, bad in BAD_NAMES.items():
        if name != "archive in the archive":
            bad = bad.replace(b"_1.JPEG", b".tar").replace(b"_x", b"x")
            yield f"{name} outside", tar(*classes[1:], member(bad, inner_tar(WNIDS[0])))
    for name, bad_member in BAD_MEMBERS.items():
        yield f"{name} outside", tar(*classes, bad_member)
    yield "class twice", tar(*classes, classes[0])
    yield "class missing", tar(*classes[1:])
    yield "unknown class", tar(*classes, member(b"n09999999.tar", inner_tar(WNIDS[0])))
    yield "truncated in a class", train_tar()[:20000]
    yield "truncated at the end", train_tar()[:-1024]


HOSTILE = dict([*((n, with_class(i)) for n, i in hostile_inner()), *hostile_outer()])


def everything_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found
