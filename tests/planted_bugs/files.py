"""Bugs to plant in files: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
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
        "tests/test_files.py::test_a_failure_before_renaming_keeps_the_old_file",
    ),
    (
        "files: a leftover that can't be removed hides the error",
        "minidl.files:temporary_name",
        "suppress(OSError)",
        "suppress(FileNotFoundError)",
        "tests/test_files.py::test_a_leftover_that_cannot_be_removed_does_not_hide_the_error",
    ),
    (
        "files: file systems that can't sync folders fail",
        "minidl.files:folder_on_disk",
        "(errno.EINVAL, errno.ENOTSUP)",
        "()",
        "tests/test_files.py::test_a_folder_that_cannot_be_synced_raises_and_keeps_the_new_file",
    ),
    (
        "files: a folder that can't be synced raises no error",
        "minidl.files:folder_on_disk",
        "error.errno in (errno.EINVAL, errno.ENOTSUP)",
        "True",
        (
            "tests/test_files.py::"
            "test_a_folder_that_cannot_be_synced_raises_and_keeps_the_new_file",
            "tests/robustness/test_endurance.py::test_short[failing_disks]",
        ),
    ),
    (
        "files: the folder's descriptor leaks",
        "minidl.files:folder_on_disk",
        "os.close(descriptor)",
        "pass",
        "tests/test_files.py::test_no_descriptor_leaks",
    ),
    (
        "files: a new file may be read by all until its permissions are set",
        "minidl.files:write_new",
        "None if mode is None else partial(os.open, mode=mode)",
        "None",
        "tests/test_files.py::test_the_new_file_has_the_old_ones_permissions",
    ),
    (
        "files: the usual permissions replace the old file's",
        "minidl.files:write_new",
        "os.chmod(path, mode)",
        "pass",
        "tests/test_files.py::test_the_new_file_has_the_old_ones_permissions",
    ),
    (
        "files: a pipe is replaced",
        "minidl.files:write_atomically",
        "mode is not None and not stat.S_ISREG(mode) and (not stat.S_ISDIR(mode))",
        "False",
        "tests/test_files.py::test_pipes_and_devices_stay",
    ),
    (
        "files: a link is replaced",
        "minidl.files:write_atomically",
        "os.path.realpath",
        "os.path.abspath",
        "tests/test_checkpoint.py::test_a_link_is_followed",
    ),
    (
        "files: an existing file is overwritten",
        "minidl.files:write_new",
        "open(path, 'xb', opener=opener)",
        "open(path, 'wb', opener=opener)",
        "tests/test_files.py::test_an_existing_file_is_not_overwritten",
    ),
    (
        "files: the file is written in place",
        "minidl.files:write_atomically",
        "write_new(temporary, chunks, None if mode is None else mode & 511)\n"
        "os.replace(temporary, target)",
        "target.write_bytes(b''.join(chunks))",
        "tests/test_files.py::test_a_failure_before_renaming_keeps_the_old_file",
    ),
    (
        "files: temporary files in use are not locked",
        "minidl.files:write_new",
        "_lock(file.fileno(), exclusive=True)",
        "",
        "tests/training/test_checkpoints.py::test_only_leftovers_of_dead_processes_are_removed",
    ),
    (
        "files: leftovers are not removed",
        "minidl.files:remove_leftovers",
        "os.unlink(entry.path)",
        "pass",
        (
            "tests/test_files.py::test_leftovers",
            "tests/training/test_checkpoints.py::test_only_leftovers_of_dead_processes_are_removed",
        ),
    ),
    (
        "files: leftovers are removed where locks don't work",
        "minidl.files:_lock",
        "except OSError:\n    return None",
        "except OSError:\n    return True",
        "tests/test_files.py::test_a_file_system_without_locks",
    ),
    (
        "files: a lock admits two holders",
        "minidl.files:_lock",
        "return False",
        "return True",
        "tests/test_files.py::test_a_lock_has_one_holder",
    ),
    (
        "files: links and pipes are opened as leftovers",
        "minidl.files:remove_leftovers",
        "entry.is_file(follow_symlinks=False)",
        "entry.is_file()",
        "tests/test_files.py::test_leftovers",
    ),
]
