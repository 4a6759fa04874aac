"""Bugs to plant in the work of several ranks: see ``tests/mutations.py``. They need MPI."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail.
BUGS = [
    (
        "ranks: sums in another order",
        "minidl.distributed.arrays:_reduce",
        "rows[1:-1]",
        "rows[-2:0:-1]",
        "tests/distributed/test_collectives.py",
    ),
    (
        "ranks: every rank draws the rows of rank 0",
        "minidl.nn.buckets:Reducer._before_forward",
        "range(rank, total, ranks)",
        "range(0, total, ranks)",
        "tests/nn/test_parallel.py",
    ),
    (
        "ranks: augmentation alike on all ranks",
        "minidl.data.distributed:SharedBatches.__iter__",
        "place + first",
        "place",
        "tests/data/test_distributed.py",
    ),
    (
        "ranks: every round of fc6 has the first samples",
        "minidl.nn.exchange:Rounds.samples",
        "start // self.here.size",
        "0",
        "tests/vision/models/test_shards.py",
    ),
    (
        "ranks: samples that fill up an evaluation count",
        "minidl.vision.metrics:evaluate",
        "scores[:count], labels[:count]",
        "scores, labels",
        "tests/vision/test_batches.py",
    ),
    (
        "ranks: NCCL adds the first half of a bucket",
        "minidl.distributed.nccl:Nccl.all_reduce",
        "flat.size",
        "flat.size // 2",
        "tests/distributed/test_collectives.py",
    ),
    (
        "ranks: a rank's own numbers are not added",
        "minidl.distributed.arrays:Turn.scatter",
        "self.rows[self.world.rank] = own",
        "self.rows[self.world.rank][:] = 0",
        "tests/distributed/test_collectives.py",
    ),
]
