"""Bugs to plant in loaders, workers, samplers and streams: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "sampler: indices are drawn with replacement",
        "minidl.data.sampler:RandomSampler.__iter__",
        "rng.permutation(size)",
        "rng.integers(size, size=size)",
        "tests/data/test_sampler.py::test_random_is_a_permutation_and_another_one_each_time",
    ),
    (
        "augmentation: the same for every sample",
        "minidl.data.stream:SampleScope.stream",
        "random.stream(self.seed, 'sample', self.epoch, self.place)",
        "random.stream(self.seed, 'sample', self.epoch)",
        "tests/data/test_loader.py::test_a_sample_drawn_twice_is_augmented_twice",
    ),
    (
        "augmentation: the same in every epoch",
        "minidl.data.stream:SampleScope.stream",
        "random.stream(self.seed, 'sample', self.epoch, self.place)",
        "random.stream(self.seed, 'sample', self.place)",
        "tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",
    ),
    (
        "order: the same in every epoch",
        "minidl.data.stream:OrderScope.stream",
        "random.stream(seed, 'order', self.epoch, self.draws)",
        "random.stream(seed, 'order', self.draws)",
        "tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",
    ),
    (
        "order: the same for each new loader",
        "minidl.data.loader:DataLoader.iterate",
        "self.epoch if self._counts_itself else generator.next_epoch(start_batch > 0)",
        "self.epoch",
        "tests/data/test_loader.py::test_a_loader_made_anew_has_a_new_epoch",
    ),
    (
        "gpu: a pinned block is reused before its copy",
        "minidl.kernels.cuda.transfer:_wait_for",
        "copied.synchronize()",
        "pass",
        "tests/data/test_upload.py::test_batches_that_are_dropped_after_use",
        "gpu-deferred",
    ),
    (
        "gpu: an upload that is dropped does not wait",
        "minidl.kernels.cuda.transfer:Upload.__init__",
        "weakref.finalize(self, _wait_for, self._copied, block)",
        "weakref.finalize(self, int)",
        "tests/data/test_upload.py::test_a_loop_that_ends_early_leaves_nothing_behind",
        "gpu-deferred",
    ),
    (
        "loader: augmentation depends on the place in the batch",
        "minidl.data.worker:Source.batch",
        "job.first_place + number * job.step",
        "number",
        "tests/data/test_loader.py::test_augmentation_does_not_depend_on_the_batch_size",
    ),
    (
        "loader: collate_fn draws from the worker's generator",
        "minidl.data.worker:Source.batch",
        "with use_sample(SampleScope(job.seed, job.epoch, -1 - job.first_place)):",
        "if True:",
        "tests/data/test_loader.py::test_random_choices_of_collate_fn_belong_to_the_batch",
    ),
    (
        "loader: skipped batches don't advance the place",
        "minidl.data.loader:DataLoader._plan",
        "place += len(keys)",
        "place += len(keys) if number >= start_batch else 0",
        "tests/data/test_loader.py::test_resuming_in_the_middle_of_an_epoch",
    ),
    (
        "loader: a lost worker's pool is used again",
        "minidl.data.loader:DataLoader.iterate",
        "workers is None or not workers.usable",
        "workers is None",
        "tests/data/test_pool.py::"
        "test_a_lost_worker_is_named_and_the_loader_goes_on[killed-persistent]",
    ),
    (
        "loader: a lost worker looks like the end of the epoch",
        "minidl.data.pool:Workers.whole",
        "raise self.lost",
        "raise StopIteration",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on",
    ),
    (
        "loader: a dropped iterator does not cancel its orders",
        "minidl.data.loader:_cancel",
        "order.cancel()",
        "pass",
        "tests/data/test_loader.py::"
        "test_a_dropped_iterators_worker_stops_after_the_sample_it_is_at[True]",
    ),
    (
        "loader: workers outlive their epoch",
        "minidl.data.loader:_Prefetch.__next__",
        "if not self._persistent:\n    self._workers.stop()",
        "",
        "tests/data/test_loader.py::test_workers_end_with_the_epoch",
    ),
    (
        "loader: the time limit is 20 times as long",
        "minidl.data.pool:_Worker.wait_for",
        "silence >= limit",
        "silence >= 20 * limit",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on[spins]",
    ),
    (
        "loader: a live worker counts as hung",
        "minidl.data.pool:_Worker.wait_for",
        "if self.numbers.cells[BEATS] != beats:\n"
        "    silence, beats = (0.0, self.numbers.cells[BEATS])\n"
        "else:\n"
        "    silence += patience\n"
        "    if silence >= limit:\n"
        "        raise self._hang(silence)",
        "silence += patience\nif silence >= limit:\n    raise self._hang(silence)",
        "tests/data/test_pool.py::test_slow_batches_of_quick_samples_are_no_hang",
    ),
    (
        "loader: the limit counts the clock, not the waiting",
        "minidl.data.pool:_Worker.wait_for",
        "if self.numbers.cells[BEATS] != beats:\n"
        "    silence, beats = (0.0, self.numbers.cells[BEATS])\n"
        "else:\n"
        "    silence += patience\n"
        "    if silence >= limit:\n"
        "        raise self._hang(silence)",
        "if self.numbers.cells[BEATS] != beats:\n"
        "    silence, beats, seen = (0.0, self.numbers.cells[BEATS], time.monotonic())\n"
        "else:\n"
        "    silence = time.monotonic() - locals().get('seen', time.monotonic())\n"
        "    if silence >= limit:\n"
        "        raise self._hang(silence)",
        "tests/data/test_pool.py::test_a_program_that_was_stopped_does_not_take_that_for_a_hang",
    ),
    (
        "loader: a hung worker is left alive",
        "minidl.data.pool:Workers.whole",
        "for worker in self.members:\n    worker.kill()\nself.stop()",
        "",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on[stopped]",
    ),
    (
        "loader: the message names the wrong index",
        "minidl.data.pool:_Worker._place",
        "keys[position]",
        "keys[-1] + 1",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on[ended]",
    ),
    (
        "loader: a worker whose pipe is closed is not noticed",
        "minidl.data.pool:_Worker._take_answer",
        "raise self._death() from None",
        "raise",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on[closed]",
    ),
    (
        "loader: workers inherit the handlers of signals",
        "minidl.data.worker:_leave_the_parent",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
        "",
        "tests/data/test_worker.py::test_signals_threads_and_seeds_of_a_worker",
    ),
    (
        "loader: Ctrl-C reaches the workers",
        "minidl.data.worker:_leave_the_parent",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "",
        "tests/data/test_worker.py::test_signals_threads_and_seeds_of_a_worker",
    ),
    (
        "loader: signals stay blocked in workers",
        "minidl.data.worker:_leave_the_parent",
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)",
        "pass",
        "tests/data/test_worker.py::test_signals_threads_and_seeds_of_a_worker",
    ),
    (
        "loader: the same numpy.random in every worker",
        "minidl.data.worker:_seed_everything",
        "np.random.seed(seed % 2 ** 32)",
        "",
        "tests/data/test_worker.py::test_signals_threads_and_seeds_of_a_worker",
    ),
    (
        "loader: workers compute with many threads",
        "minidl.data.worker:work",
        "cpu.set_num_threads(1)",
        "",
        "tests/data/test_worker.py::test_signals_threads_and_seeds_of_a_worker",
    ),
    (
        "loader: workers hold each other's pipes",
        "minidl.data.worker:_leave_the_parent",
        "other.channel.connection.close()",
        "",
        "tests/data/test_worker.py::test_a_worker_holds_nothing_of_the_others",
    ),
    (
        "loader: workers hold each other's memory",
        "minidl.data.worker:_leave_the_parent",
        "other.close()",
        "pass",
        "tests/data/test_worker.py::test_a_worker_holds_nothing_of_the_others",
    ),
    (
        "loader: a stopped or locked worker outlives its parent",
        "minidl.data.worker:Parent.watch",
        "sys.platform == 'linux' and self.is_main_thread",
        "False",
        "tests/data/test_worker.py::test_workers_end_with_a_parent_that_is_killed",
    ),
    (
        "loader: descriptors stay open",
        "minidl.data.pool:_Worker.finish",
        "self.theirs.close()\nself.close()",
        "",
        "tests/data/test_pool.py::test_a_lost_worker_is_named_and_the_loader_goes_on[ended]",
    ),
    (
        "loader: exit waits for a stopped worker",
        "minidl.data.pool:Workers.__init__",
        "Finalize(self, _stop, (self.members,), exitpriority=100)",
        "Finalize(self, _stop, (self.members,))",
        "tests/data/test_worker.py::test_a_program_may_end_in_the_middle_of_an_epoch",
    ),
    (
        "loader: workers survive a failed start of the others",
        "minidl.data.pool:Workers.__init__",
        "self.stop()\nraise DataError(...) from error",
        'raise DataError(f"worker {number} of num_workers={count} can\'t be started") from error',
        "tests/data/test_pool.py::test_a_process_that_cannot_be_started",
    ),
    (
        "loader: exceptions that can't be pickled kill the worker",
        "minidl.data.worker:_portable",
        "travels = False",
        "travels = True",
        "tests/data/test_worker.py::test_an_exception_that_cannot_travel_becomes_one_that_can",
    ),
    (
        "loader: exceptions lose the worker's traceback",
        "minidl.data.worker:_portable",
        "error.add_note(f'Traceback in worker {number} of the DataLoader:\\n{text}')",
        "",
        "tests/data/test_worker.py::test_an_exception_comes_out_whole_and_the_worker_lives_on",
    ),
    (
        "loader: batches stay in slots until none is free",
        "minidl.data.pool:_Worker._take_answer",
        "None if lent < _MOST_LENT else ordinary_memory",
        "None",
        "tests/data/test_pool.py::test_batches_that_are_kept_stay_as_they_are",
    ),
    (
        "loader: a transform's collation uses the next batch's memory",
        "minidl.data.worker:Source.batch",
        "samples: list[Any] = []",
        "samples: list[Any] = []\nCollation.__init__.__defaults__ = (empty,)",
        "tests/data/test_worker.py::test_what_a_transform_collates_may_be_kept",
    ),
    (
        "loader: freed memory goes back to the system",
        "minidl.data.worker:work",
        "_keep_freed_memory()",
        "",
        "tests/data/test_worker.py::test_the_memory_of_a_sample_serves_the_next",
    ),
    (
        "notes: workers' notes are lost",
        "minidl.data.loader:_Prefetch.__next__",
        "add_notes(notes, self._notes)",
        "pass",
        "tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",
    ),
    (
        "notes: a failed batch's notes are lost",
        "minidl.data.loader:_Inline.__next__",
        "try:\n    batch = self._source.batch(job)\nfinally:\n    add_notes(notes, self._notes)",
        "try:\n"
        "    batch = self._source.batch(job)\n"
        "except KeyError:\n"
        "    pass\n"
        "else:\n"
        "    add_notes(notes, self._notes)",
        "tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",
    ),
    (
        "loader: more lines in flight than a pipe holds",
        "minidl.data.pool:_Worker.__init__",
        "min(ahead, _MOST_ORDERS)",
        "ahead",
        "tests/data/test_pool.py::test_both_sides_never_wait_for_each_other_to_read[True]",
    ),
    (
        "loader: without shared memory, an order meets a batch in the pipe",
        "minidl.data.pool:_Worker.__init__",
        "min(ahead, _MOST_ORDERS) + _MOST_LENT if HAS_ANONYMOUS_FILES else 1",
        "min(ahead, _MOST_ORDERS) + _MOST_LENT if HAS_ANONYMOUS_FILES else ahead",
        "tests/data/test_pool.py::test_both_sides_never_wait_for_each_other_to_read[False]",
    ),
    (
        "loader: an exception without a message kills a worker",
        "minidl.data.worker:_portable",
        "except Exception:\n    message = ...",
        "except ZeroDivisionError:\n    message = ''",
        "tests/data/test_worker.py::test_an_exception_without_a_message_is_not_the_workers_end",
    ),
    (
        "loader: a child uses its parent's workers",
        "minidl.data.pool:Workers.usable",
        "self.lost is None and self._process_id == os.getpid()",
        "self.lost is None",
        "tests/data/test_pool.py::test_a_forked_process_leaves_its_parents_workers_alone",
    ),
    (
        "loader: a worker can't explain why it has no workers",
        "minidl.data.pool:Workers.__init__",
        "current_process().daemon",
        "False",
        "tests/data/test_pool.py::test_a_worker_cannot_have_workers",
    ),
    (
        "loader: an iterator continues after Ctrl-C",
        "minidl.data.loader:_Prefetch.__next__",
        "with self._workers.whole():",
        "if True:",
        "tests/data/test_pool.py::test_ctrl_c_between_two_batches_does_not_lose_one",
    ),
    (
        "loader: a process starts while another thread closes",
        "minidl.data.pool:_Worker.close",
        "self.is_open = False",
        "",
        "tests/data/test_pool.py::"
        "test_a_process_that_begins_while_another_thread_closes_descriptors",
    ),
    (
        "stream: neighbors share nothing",
        "minidl.data.stream:shared_stream",
        "scope.place // pictures",
        "scope.place",
        "tests/vision/transforms/test_presets.py::test_neighbors_share_offset_and_mirror",
    ),
    (
        "stream: the shared choice is the same in each epoch",
        "minidl.data.stream:shared_stream",
        "scope.epoch",
        "0",
        "tests/vision/transforms/test_presets.py::test_neighbors_share_offset_and_mirror",
    ),
]
