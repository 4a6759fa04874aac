"""Bugs to plant in what goes between processes: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "transport: channels-last becomes contiguous",
        "minidl.data.transport:_reduce_array",
        "memory_order(array)",
        "list(range(array.ndim))",
        "tests/data/test_transport.py::test_arrays_arrive_as_they_are",
    ),
    (
        "transport: axes are permuted the wrong way",
        "minidl.data.transport:_array",
        "sorted(range(len(axes)), key=axes.__getitem__)",
        "axes",
        "tests/data/test_transport.py::test_arrays_arrive_as_they_are",
    ),
    (
        "transport: read-only arrays",
        "minidl.data.transport:_reduce_array",
        "not dense.flags.writeable",
        "False",
        "tests/data/test_transport.py::test_arrays_that_become_dense",
    ),
    (
        "transport: tapes leave their process",
        "minidl.data.transport:_reduce_tensor",
        "tensor.node is not None",
        "False",
        "tests/data/test_transport.py::test_what_cannot_leave_its_process",
    ),
    (
        "transport: everything goes through the pipe",
        "minidl.data.transport:Channel.send",
        "not self.slots",
        "True",
        "tests/data/test_transport.py::test_structures_of_tensors",
    ),
    (
        "transport: a slot is reused while its batch is in use",
        "minidl.data.transport:Channel.receive",
        "shared = memory.lend(length, lambda: release(slot))",
        "shared = memory.lend(length, lambda: None)\nrelease(slot)",
        (
            "tests/data/test_transport.py::test_a_batch_stays_in_its_slot_until_it_is_dropped",
            "tests/data/test_pool.py::test_batches_that_are_kept_stay_as_they_are",
        ),
    ),
    (
        "transport: arrays in a slot's earlier mappings are copied again",
        "minidl.data.transport:Slot.place",
        "self.mappings",
        "self.mappings[-1:]",
        "tests/data/test_transport.py::test_a_slot_that_grows_leaves_earlier_arrays_as_they_are",
    ),
    (
        "transport: a forked process loses its batches when its parent drops them",
        "minidl.data.transport:_Loan.__del__",
        "self.forks == _forks",
        "True",
        "tests/data/test_pool.py::test_a_forked_process_keeps_the_batches_that_it_has",
    ),
    (
        "notes: duplicates are kept",
        "minidl.data.notes:add_notes",
        "if text not in texts:\n    texts.append(text)",
        "texts.append(text)",
        "tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",
    ),
]
