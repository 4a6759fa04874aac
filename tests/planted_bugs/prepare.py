"""Bugs to plant in the preparation of ImageNet: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "prepare: classes of ImageNet are tuples of names",
        "examples/prepare_imagenet.py:Program.begin",
        "self.folders['train'].names",
        "self.folders['train'].classes",
        "tests/examples/test_prepare_imagenet.py::test_archives_and_folders_give_the_same_shards",
    ),
    (
        "prepare: shards are prepared again",
        "examples/prepare_imagenet.py:open_folders",
        "len(folders) < len(splits)",
        "False",
        "tests/examples/test_prepare_imagenet.py::test_shards_are_refused_as_input",
    ),
    (
        "prepare: the data's place is in the manifest",
        "examples/prepare_imagenet.py:Preparation.prepare",
        "reason.replace(path, source).replace(folder.root + os.sep, '')",
        "reason.replace(path, source)",
        "tests/examples/test_prepare_imagenet.py::test_archives_and_folders_give_the_same_shards",
    ),
]
