"""Bugs to plant in checkpoints: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "checkpoint: the tensors' hashes are not checked",
        "minidl.checkpoint:_decode_file",
        "_digest(array) != digests[name]",
        "False",
        "tests/test_checkpoint.py::test_a_changed_byte_never_changes_a_value",
    ),
    (
        "checkpoint: written in the memory's order",
        "minidl.checkpoint:_Encoder._store",
        "np.asarray(copy_to(array, Device('cpu')), dtype, order='C')",
        "np.asarray(copy_to(array, Device('cpu')), dtype).T.reshape(array.shape)",
        "tests/test_checkpoint.py::test_memory_that_is_not_c_contiguous",
    ),
    (
        "checkpoints: last is moved away first",
        "minidl.training.checkpoints:Checkpoints._replace",
        "keep and _link(last, old)",
        "False",
        "tests/training/test_checkpoints.py::test_last_is_complete_at_every_moment",
    ),
    (
        "checkpoints: a file system without links fails",
        "minidl.training.checkpoints:_link",
        "error.errno not in _NO_LINKS",
        "True",
        "tests/training/test_checkpoints.py::test_a_file_system_without_links",
    ),
    (
        "checkpoints: links may fail for any reason",
        "minidl.training.checkpoints:_link",
        "error.errno not in _NO_LINKS",
        "False",
        "tests/robustness/test_endurance.py::test_short[failing_disks]",
    ),
    (
        "checkpoints: previous is forgotten",
        "minidl.training.checkpoints:Checkpoints._replace",
        "os.replace(old, previous)",
        "pass",
        "tests/training/test_checkpoints.py::test_the_newest_two_and_the_best_stay",
    ),
    (
        "checkpoints: best is not updated",
        "minidl.training.checkpoints:Checkpoints._replace",
        "os.replace(new_best, self._path('best'))",
        "pass",
        "tests/training/test_checkpoints.py::test_the_newest_two_and_the_best_stay",
    ),
    (
        "checkpoints: best is written twice",
        "minidl.training.checkpoints:Checkpoints._replace",
        "best and (best_chunks or not _link(new, new_best))",
        "best",
        "tests/training/test_checkpoints.py::test_the_best_is_not_written_twice",
    ),
    (
        "state: the best keeps the optimizer",
        "minidl.training.state:RunState.save",
        "['optimizer']",
        "[]",
        "tests/training/test_run.py::test_the_best_may_be_weights_alone",
    ),
    (
        "checkpoints: a full disk ends the run",
        "minidl.training.checkpoints:Checkpoints.save",
        "except OSError as error:",
        "except ZeroDivisionError as error:",
        (
            "tests/training/test_checkpoints.py::"
            "test_a_failure_is_a_warning_and_the_next_save_works",
            "tests/robustness/test_endurance.py::test_short[failing_disks]",
        ),
    ),
    (
        "checkpoints: a failure is reported as saved",
        "minidl.training.checkpoints:Checkpoints.save",
        "return False",
        "return True",
        (
            "tests/training/test_checkpoints.py::"
            "test_a_failure_is_a_warning_and_the_next_save_works",
            "tests/robustness/test_endurance.py::test_short[failing_disks]",
        ),
    ),
    (
        "checkpoints: a failing stderr ends the run",
        "minidl.training.checkpoints:_warn",
        "suppress(OSError, ValueError)",
        "suppress(ValueError)",
        "tests/training/test_checkpoints.py::test_a_warning_that_cannot_be_written_is_ignored",
    ),
    (
        "checkpoints: links are made before the file is complete",
        "minidl.training.checkpoints:Checkpoints._replace",
        "write_new(new, chunks)",
        "new.touch()\nos.replace(new, last)\nwrite_new(new, chunks)",
        (
            "tests/robustness/test_endurance.py::test_short[failing_disks]",
            "tests/training/test_checkpoints.py::test_last_is_complete_at_every_moment",
        ),
    ),
    (
        "checkpoints: a damaged last pushes out previous",
        "minidl.training.checkpoints:Checkpoints._last_is_good",
        "return False",
        "return True",
        "tests/training/test_checkpoints.py::test_a_damaged_last_does_not_replace_a_good_previous",
    ),
    (
        "checkpoints: a missing last has no fallback",
        "minidl.training.checkpoints:Checkpoints._last_is_good",
        "os.path.exists(self._path('last'))",
        "True",
        "tests/training/test_checkpoints.py::test_a_deleted_last_checkpoint",
    ),
    (
        "checkpoints: leftovers are not removed",
        "minidl.training.checkpoints:Checkpoints.__init__",
        "remove_leftovers(self.folder)",
        "",
        "tests/training/test_checkpoints.py::test_only_leftovers_of_dead_processes_are_removed",
    ),
    (
        "checkpoints: no fallback",
        "minidl.training.checkpoints:Checkpoints.load",
        "except CheckpointError as error:",
        "except ZeroDivisionError as error:",
        "tests/training/test_checkpoints.py::test_damage_is_a_warning_and_the_previous_is_loaded",
    ),
    (
        "checkpoints: a silent fallback",
        "minidl.training.checkpoints:Checkpoints.load",
        'reasons and (prefer != "best" or os.path.exists(folder / "best.safetensors"))',
        "False",
        "tests/training/test_checkpoints.py::test_damage_is_a_warning_and_the_previous_is_loaded",
    ),
    (
        "checkpoint: the structure's hash is not checked",
        "minidl.checkpoint:_decode_file",
        "_sha256(structure) != metadata.get('minidl.sha256')",
        "False",
        "tests/test_checkpoint.py::test_a_changed_byte_never_changes_a_value",
    ),
    (
        "checkpoint: the tensors' hashes are not checked, seen by random damage",
        "minidl.checkpoint:_decode_file",
        "_digest(array) != digests[name]",
        "False",
        "tests/robustness/test_endurance.py::test_short[mutated_checkpoints]",
    ),
    (
        "checkpoint: unlisted tensors pass",
        "minidl.checkpoint:_decode_file",
        "digests.keys() != arrays.keys()",
        "False",
        "tests/test_checkpoint.py::test_a_hostile_structure_with_a_valid_checksum",
    ),
    (
        "checkpoint: half of the metadata makes a file foreign",
        "minidl.checkpoint:_decode_file",
        "'minidl' not in metadata and 'minidl.sha256' not in metadata",
        "'minidl' not in metadata or 'minidl.sha256' not in metadata",
        "tests/test_checkpoint.py::test_hostile_headers",
    ),
    (
        "checkpoint: errors of other kinds escape",
        "minidl.checkpoint:load",
        "except Exception as error:",
        "except CheckpointError as error:",
        (
            "tests/test_checkpoint.py::test_hostile_headers",
            "tests/robustness/test_endurance.py::test_short[mutated_checkpoints]",
        ),
    ),
]
