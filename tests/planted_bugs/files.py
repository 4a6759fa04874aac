"""Bugs to plant in files: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "files: the content is not synced",
        "minidl.files:write_new",
        "os.fsync(file.fileno())",
        "",
        "tests/test_checkpoint.py::test_the_order_is_write_sync_rename_sync",
    ),
    (
        "files: the folder is not synced",
        "minidl.files:folder_on_disk",
        "os.fsync(descriptor)",
        "pass",
        "tests/test_checkpoint.py::test_the_order_is_write_sync_rename_sync",
    ),
    (
        "files: synced before it is flushed",
        "minidl.files:write_new",
        "file.flush()",
        "",
        "tests/test_checkpoint.py::test_the_order_is_write_sync_rename_sync",
    ),
    (
        "files: a failure leaves the temporary file",
        "minidl.files:temporary_name",
        "os.unlink(path)",
        "pass",
        "tests/test_files.py::test_what_fails_before_the_renaming_leaves_the_old",
    ),
    (
        "files: a leftover that can't be removed hides the error",
        "minidl.files:temporary_name",
        "suppress(OSError)",
        "suppress(FileNotFoundError)",
        "tests/test_files.py::test_a_leftover_that_cannot_be_removed_hides_no_error",
    ),
    (
        "files: network file systems without a sync of folders",
        "minidl.files:folder_on_disk",
        "(errno.EINVAL, errno.ENOTSUP)",
        "()",
        "tests/test_files.py::"
        "test_a_folder_that_cannot_be_synced_is_an_error_and_the_new_file_is_there",
    ),
    (
        "files: a folder that can't be synced is no error",
        "minidl.files:folder_on_disk",
        "error.errno in (errno.EINVAL, errno.ENOTSUP)",
        "True",
        (
            "tests/test_files.py::"
            "test_a_folder_that_cannot_be_synced_is_an_error_and_the_new_file_is_there",
            "tests/robustness/test_endurance.py::test_short[failing_disks]",
        ),
    ),
    (
        "files: the folder stays open",
        "minidl.files:folder_on_disk",
        "os.close(descriptor)",
        "pass",
        "tests/test_files.py::test_nothing_is_opened_for_good",
    ),
    (
        "files: a link is replaced",
        "minidl.files:write_atomically",
        "os.path.realpath",
        "os.path.abspath",
        "tests/test_checkpoint.py::test_a_link_is_followed",
    ),
    (
        "files: what is there is written over",
        "minidl.files:write_new",
        "open(path, 'xb')",
        "open(path, 'wb')",
        "tests/test_files.py::test_what_is_there_is_not_written_over",
    ),
    (
        "files: written in place",
        "minidl.files:write_atomically",
        "write_new(temporary, chunks)\nos.replace(temporary, target)",
        "target.write_bytes(b''.join(chunks))",
        "tests/test_files.py::test_what_fails_before_the_renaming_leaves_the_old",
    ),
    (
        "files: the living are not locked",
        "minidl.files:write_new",
        "_lock(file.fileno(), exclusive=True)",
        "",
        "tests/training/test_checkpoints.py::test_leftovers_of_the_dead_alone_are_removed",
    ),
    (
        "files: leftovers stay",
        "minidl.files:remove_leftovers",
        "os.unlink(entry.path)",
        "pass",
        (
            "tests/test_files.py::test_leftovers",
            "tests/training/test_checkpoints.py::test_leftovers_of_the_dead_alone_are_removed",
        ),
    ),
    (
        "files: leftovers of unknown owners are removed",
        "minidl.files:_lock",
        "except OSError:\n    return None",
        "except OSError:\n    return True",
        "tests/test_files.py::test_a_file_system_without_locks",
    ),
    (
        "files: a lock is not for one",
        "minidl.files:_lock",
        "return False",
        "return True",
        "tests/test_files.py::test_a_lock_is_for_one",
    ),
    (
        "files: what can't be a leftover is opened",
        "minidl.files:remove_leftovers",
        "entry.is_file(follow_symlinks=False)",
        "entry.is_file()",
        "tests/test_files.py::test_leftovers",
    ),
]
