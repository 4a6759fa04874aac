"""Submissions to ILSVRC-2012: IDs of classes, the format, mistakes in it, the score."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from archives import IDS, TRUTH, WNIDS, WORDS, kit_tar, meta_mat, truth_text, write_class_list
from hypothesis import given
from hypothesis import strategies as st

from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets.devkit import Classes
from minidl.vision.submission import (
    best_classes,
    check_submission,
    class_ids,
    line_order,
    read_classes,
    score_submission,
    write_submission,
)

BY_ID = dict(zip(IDS, WNIDS, strict=True))
KNOWN = Classes(BY_ID, {w: tuple(n.split(", ")) for w, n in zip(WNIDS, WORDS, strict=True)})


# ------------------------------------------------------------------------- the numbers of classes
def test_classes_from_a_list(tmp_path: Path) -> None:
    found = read_classes(write_class_list(tmp_path))
    assert (found.by_id, found.words) == (KNOWN.by_id, KNOWN.words)


def test_classes_from_the_kit_in_all_its_forms(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    archive = tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    archive.write_bytes(kit_tar(meta_mat(), truth_text()))
    unpacked = tmp_path / "elsewhere" / "ILSVRC2012_devkit_t12"
    (unpacked / "data").mkdir(parents=True)
    (unpacked / "data" / "meta.mat").write_bytes(meta_mat())
    renamed = tmp_path / "third" / "kit.tar.gz"
    renamed.parent.mkdir()
    renamed.write_bytes(archive.read_bytes())
    for path in (archive, tmp_path, unpacked, unpacked.parent, renamed):
        assert read_classes(path).by_id == KNOWN.by_id


def test_missing_class_lists(tmp_path: Path) -> None:
    for path, words in ((tmp_path, "no development kit"), (tmp_path / "no.txt", r"no\.txt")):
        with pytest.raises(DataError, match=words):
            read_classes(path)
    with pytest.raises(DataError, match="kit"):
        read_classes(tmp_path / "kit.tar.gz")
    (tmp_path / "list.txt").write_text("n01440764 tench\n")
    with pytest.raises(DataError, match="has no IDs"):
        read_classes(tmp_path / "list.txt")


def test_ids_of_wnids_in_any_order_and_of_names_in_list_order() -> None:
    assert class_ids(WNIDS, KNOWN) == IDS
    assert class_ids([WNIDS[3], WNIDS[0]], KNOWN) == [IDS[3], IDS[0]]
    assert class_ids(WORDS, KNOWN) == IDS
    assert class_ids([names.split(", ")[-1] for names in WORDS], KNOWN) == IDS
    shuffled = Classes(dict(reversed(BY_ID.items())), dict(reversed(KNOWN.words.items())))
    assert class_ids(WORDS, shuffled) == IDS  # a class list need not be sorted


def test_other_classes() -> None:
    with pytest.raises(DataError, match="'n00000000' is none of"):
        class_ids(["n00000000", *WNIDS[1:]], KNOWN)
    with pytest.raises(DataError, match="has 2 classes, the first 'tench'"):
        class_ids(["tench", "goldfish"], KNOWN)
    with pytest.raises(DataError, match="only 1 of the network's 5"):
        class_ids(WORDS[::-1], KNOWN)  # only the middle one is in its place


def test_one_name_in_ten_may_be_spelled_differently() -> None:
    wnids = [f"n{number:08d}" for number in range(20)]
    known = Classes(dict(enumerate(wnids, 1)), {wnid: (f"name {wnid}",) for wnid in wnids})
    names = [f"name {wnid}" for wnid in wnids]
    assert class_ids(["other", "another", *names[2:]], known) == list(range(1, 21))
    with pytest.raises(DataError, match="only 17"):
        class_ids(["other", "another", "third", *names[3:]], known)


# ---------------------------------------------------------------------------------------- writing
def test_best_classes_with_ties() -> None:
    scores = np.array([[0.2, 0.5, 0.2, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]], np.float32)
    assert best_classes(scores).tolist() == [[1, 0, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert best_classes(scores, 2).tolist() == [[1, 0], [0, 1]]
    assert best_classes(scores[:, :3]).shape == (2, 3)
    with pytest.raises(DataError, match=r"picture 1 .*NaN"):
        best_classes(np.array([[0.0, 1.0], [0.0, np.nan]]))


def test_lines_are_in_the_order_of_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    names = ["b/ILSVRC2012_test_00000001.JPEG", "a/ILSVRC2012_test_00000003.JPEG",
             "c/ILSVRC2012_test_00000002.JPEG"]  # fmt: skip
    write_submission(path, names, np.array([[0, 1], [2, 3], [4, 0]]), IDS)
    assert path.read_bytes() == b"4 2\n3 4\n5 1\n"
    assert check_submission(path, 3) == []
    assert line_order(names) == [0, 2, 1]
    with pytest.raises(DataError, match=r"x/1\.JPEG and y/1\.JPEG have the same file name"):
        write_submission(path, ["x/1.JPEG", "y/1.JPEG"], np.array([[0], [1]]), IDS)
    assert path.read_bytes() == b"4 2\n3 4\n5 1\n"


def test_probabilities_give_the_five_best(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    ids = [7, 1000, 3, 1, 99, 12]
    write_submission(path, ["a"], np.array([[0.1, 0.3, 0.15, 0.25, 0.05, 0.15]]), ids)
    assert path.read_text() == "1000 1 3 12 7\n"


@pytest.mark.parametrize(
    ("answers", "ids", "words"),
    [
        ([[0]], IDS, "a row of 1 to 5 labels for each of the 2"),
        ([[0] * 6] * 2, IDS, "1 to 5 labels"),
        ([0, 1], IDS, "1 to 5 labels"),
        (np.zeros((2, 0), np.int64), IDS, "1 to 5 labels"),
        ([[0], [5]], IDS, "labels from 0 to 5"),
        ([[-1], [4]], IDS, "labels from -1 to 4"),
        ([[0, 1], [3, 3]], IDS, "duplicate class"),
        ([[0], [1]], [0, 1], "from 1 to 1000"),
        ([[0], [1]], [1001, 1], "from 1 to 1000"),
        ([[0], [1]], [3, 3], "different"),
    ],
)
def test_arguments_that_do_not_fit(
    tmp_path: Path, answers: list[list[int]], ids: list[int], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        write_submission(tmp_path / "out.txt", ["a", "b"], np.asarray(answers), ids)
    assert not os.listdir(tmp_path)


def test_an_unwritable_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be written"):
        write_submission(tmp_path / "no" / "out.txt", ["a"], np.array([[0]]), IDS)


# --------------------------------------------------------------------------------------- checking
def problems(folder: Path, content: bytes, pictures: int, classes: int = 1000) -> list[str]:
    path = folder / "submission.txt"
    path.write_bytes(content)
    return check_submission(path, pictures, classes)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "empty"),
        (b"  ", "empty"),
        (b"1 2 ", "single spaces"),
        (b" 1 2", "single spaces"),
        (b"1  2", "single spaces"),
        (b"1\t2", "single spaces"),
        (b"1 2\r", "CR LF"),
        (b"1,2", "'1,2'"),
        (b"ILSVRC2012_test_00000001.JPEG 1 2", "ILSVRC2012_test"),
        (b"1.0", "'1.0'"),
        (b"1e2", "'1e2'"),
        (b"+1", "'+1'"),
        (b"-1", "'-1'"),
        (b"007", "'007'"),
        (b"\xef\xbb\xbf1 2", "ufeff"),
        ("١".encode(), "١"),
        (b"\xff", "xff"),
        (b"\0", "expected only numbers"),
        (b"0 1", "no class 0"),
        (b"1001", "no class 1001"),
        (b"9" * 300, "no class 99999999999999999999,"),
        (b"1 2 3 4 5 6", "6 classes"),
        (b"7 8 7", "class 7 appears twice"),
    ],
)
def test_every_mistake_is_named_with_its_line(tmp_path: Path, line: bytes, words: str) -> None:
    found = problems(tmp_path, b"1 2 3 4 5\n" + line + b"\n1000\n", 3)
    assert len(found) == 1, found
    assert found[0].startswith("line 2: ")
    said = found[0].replace("\ufeff", "ufeff")
    assert words in said and len(said) < 200


def test_the_number_of_lines(tmp_path: Path) -> None:
    assert problems(tmp_path, b"1\n2\n", 2) == []
    assert problems(tmp_path, b"1\n2", 2) == []  # the last newline may be missing
    assert problems(tmp_path, b"1\n", 2) == ["1 lines, expected 2: one for each picture"]
    assert problems(tmp_path, b"1\n2\n\n", 2) == [
        "line 3: it is empty, expected at least one class",
        "3 lines, expected 2: one for each picture",
    ]
    assert problems(tmp_path, b"", 1) == ["0 lines, expected 1: one for each picture"]
    assert problems(tmp_path, b"6\n5\n", 2, classes=5) == [
        "line 1: there is no class 6, expected IDs from 1 to 5"
    ]
    (whole,) = check_submission(tmp_path / "submission.txt")
    assert whole.endswith("2 lines, expected 100,000: one for each picture")


def test_a_file_without_lines_is_read_in_pieces(tmp_path: Path) -> None:
    found = problems(tmp_path, b"\0" * 100_000, 1)
    assert found[0].startswith("line 1: ") and len(found) == 101
    with pytest.raises(DataError, match="can't be read"):
        check_submission(tmp_path / "missing.txt")


@given(st.binary(max_size=60))
def test_a_file_that_passes_the_check_is_a_submission(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.txt"
        path.write_bytes(content)
        count = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
        if check_submission(path, count):
            return
    rows = [[int(word) for word in line.split(b" ")] for line in content.splitlines()]
    assert len(rows) == count
    assert all(1 <= len(row) <= 5 and len(set(row)) == len(row) for row in rows)
    assert all(1 <= number <= 1000 for row in rows for number in row)


@given(st.data())
def test_written_submissions_are_scored_correctly(data: st.DataObject) -> None:
    count, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 9))
    seed = data.draw(st.integers(0, 2**32))
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (count, classes)).astype(np.float32)
    ids = (1 + rng.permutation(1000)[:classes]).tolist()
    truth = rng.integers(0, classes, count)
    names = [f"{number:03d}.JPEG" for number in rng.permutation(count)]
    order = np.argsort(names)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.txt"
        write_submission(path, names, scores, ids)
        assert check_submission(path, count) == []
        found = score_submission(path, [ids[label] for label in truth[order]])
    for k, error in ((1, found["top1_error"]), (5, found["top5_error"])):
        ranked = [sorted(range(classes), key=lambda c, r=row: (-r[c], c))[:k] for row in scores]
        wrong = sum(t not in best for t, best in zip(truth, ranked, strict=True))
        assert error == pytest.approx(100 * wrong / count)


# ---------------------------------------------------------------------------------------- scoring
def test_flat_errors_by_hand(tmp_path: Path) -> None:
    path, truth = tmp_path / "s.txt", tmp_path / "truth.txt"
    path.write_text("4 2\n1 2 3 4 5\n2\n5 4\n1 3\n2 1\n3\n3 2 1\n")
    truth.write_bytes(truth_text(TRUTH))  # 4 2 2 5 3 1 4 3
    assert score_submission(path, truth) == {"top1_error": 50.0, "top5_error": 12.5}


def test_scores_need_complete_submissions_and_labels(tmp_path: Path) -> None:
    path, truth = tmp_path / "s.txt", tmp_path / "truth.txt"
    path.write_text("4 2\n1 1\n")
    with pytest.raises(DataError, match=r"s\.txt: line 2: class 1 appears twice \(1 problem"):
        score_submission(path, [4, 2])
    path.write_text("4 2\n1\n")
    with pytest.raises(DataError, match="2 lines, expected 3"):
        score_submission(path, [4, 2, 1])
    truth.write_text("4\nn01440764\n")
    with pytest.raises(DataError, match=r"truth\.txt, line 2: found 'n01440764'"):
        score_submission(path, truth)
    with pytest.raises(DataError, match="no labels"):
        score_submission(path, [])
