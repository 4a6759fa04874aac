"""Bugs to plant in the loader's processes: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "loader: augmentation by the place in the batch",
        "minidl/data/workers.py",
        "SampleScope(job.seed, job.epoch, job.first_place + number)",
        "SampleScope(job.seed, job.epoch, number)",
        ("tests/data/test_loader.py::test_augmentation_does_not_depend_on_the_batch_size",),
    ),
    (
        "loader: collate_fn draws from the worker's generator",
        "minidl/data/workers.py",
        "        with use_sample(SampleScope(job.seed, job.epoch, -1 - job.first_place)):\n",
        "        if True:\n",
        ("tests/data/test_loader.py::test_random_choices_of_collate_fn_belong_to_the_batch",),
    ),
    (
        "loader: skipped batches don't count as places",
        "minidl/data/loader.py",
        "            place += len(keys)\n",
        "            place += len(keys) if number >= start_batch else 0\n",
        ("tests/data/test_loader.py::test_resuming_in_the_middle_of_an_epoch",),
    ),
    (
        "loader: a lost worker's pool is used again",
        "minidl/data/loader.py",
        "if workers is None or not workers.usable:",
        "if workers is None:",
        (
            "tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[killed-persistent]",
        ),
    ),
    (
        "loader: a lost worker looks like the end of the epoch",
        "minidl/data/workers.py",
        "        if self.lost is not None:\n            raise self.lost\n",
        "        if self.lost is not None:\n            raise StopIteration\n",
        ("tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on",),
    ),
    (
        "loader: an iterator that is dropped leaves its orders to be done",
        "minidl/data/loader.py",
        "            order.cancel()",
        "            pass",
        (
            "tests/data/test_loader.py::test_a_dropped_iterators_worker_stops_after_the_sample_it_is_at[True]",
        ),
    ),
    (
        "loader: workers outlive their epoch",
        "minidl/data/loader.py",
        "            if not self._persistent:\n                self._workers.stop()\n",
        "",
        ("tests/data/test_loader.py::test_workers_end_with_the_epoch",),
    ),
    (
        "loader: an endless limit",
        "minidl/data/workers.py",
        "                if silence >= limit:",
        "                if silence >= 20 * limit:",
        ("tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[spins]",),
    ),
    (
        "loader: a worker that lives is taken for a hung one",
        "minidl/data/workers.py",
        "            elif self.numbers.cells[_BEATS] != beats:\n"
        "                silence, beats = 0.0, self.numbers.cells[_BEATS]\n",
        "",
        ("tests/data/test_workers.py::test_slow_batches_of_quick_samples_are_no_hang",),
    ),
    (
        "loader: the clock counts, not the waiting",
        "minidl/data/workers.py",
        "                silence, beats = 0.0, self.numbers.cells[_BEATS]\n"
        "            else:\n"
        "                silence += patience\n",
        "                silence, beats, seen = 0.0, "
        "self.numbers.cells[_BEATS], time.monotonic()\n"
        "            else:\n"
        "                silence = time.monotonic() - "
        'locals().get("seen", time.monotonic())\n',
        (
            "tests/data/test_workers.py::test_a_program_that_was_stopped_does_not_take_that_for_a_hang",
        ),
    ),
    (
        "loader: a hung worker is left alive",
        "minidl/data/workers.py",
        "            for worker in self.members:\n"
        "                worker.kill()\n"
        "            self.stop()\n"
        "            raise",
        "            raise",
        (
            "tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[stopped]",
        ),
    ),
    (
        "loader: the message names the wrong index",
        "minidl/data/workers.py",
        'return f"at index {keys[position]!r} of the data set"',
        'return f"at index {keys[-1] + 1!r} of the data set"',
        ("tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[ended]",),
    ),
    (
        "loader: a worker whose pipe is closed is not noticed",
        "minidl/data/workers.py",
        "        except (EOFError, ConnectionError):\n            raise self._death() from None",
        "        except (EOFError, ConnectionError):\n            raise",
        ("tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[closed]",),
    ),
    (
        "loader: workers inherit the handlers of signals",
        "minidl/data/workers.py",
        "    signal.signal(signal.SIGTERM, signal.SIG_DFL)\n",
        "",
        ("tests/data/test_workers.py::test_signals_threads_and_seeds_of_a_worker",),
    ),
    (
        "loader: Ctrl-C reaches the workers",
        "minidl/data/workers.py",
        "    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C "
        "reaches all; the parent decides\n",
        "",
        ("tests/data/test_workers.py::test_signals_threads_and_seeds_of_a_worker",),
    ),
    (
        "loader: signals stay blocked in workers",
        "minidl/data/workers.py",
        "        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)\n",
        "        pass\n",
        ("tests/data/test_workers.py::test_signals_threads_and_seeds_of_a_worker",),
    ),
    (
        "loader: the same numpy.random in every worker",
        "minidl/data/workers.py",
        "    np.random.seed(seed % 2**32)\n",
        "",
        ("tests/data/test_workers.py::test_signals_threads_and_seeds_of_a_worker",),
    ),
    (
        "loader: workers compute with many threads",
        "minidl/data/workers.py",
        "    cpu.set_num_threads(1)\n",
        "",
        ("tests/data/test_workers.py::test_signals_threads_and_seeds_of_a_worker",),
    ),
    (
        "loader: workers hold each other's pipes",
        "minidl/data/workers.py",
        "            other.channel.connection.close()\n",
        "",
        ("tests/data/test_workers.py::test_a_worker_holds_nothing_of_the_others",),
    ),
    (
        "loader: workers hold each other's memory",
        "minidl/data/workers.py",
        "                other.close()\n",
        "                pass\n",
        ("tests/data/test_workers.py::test_a_worker_holds_nothing_of_the_others",),
    ),
    (
        "loader: a stopped or locked worker outlives its parent",
        "minidl/data/workers.py",
        '        if sys.platform == "linux" and self.is_main_thread:',
        "        if False:",
        ("tests/data/test_workers.py::test_workers_end_with_a_parent_that_is_killed",),
    ),
    (
        "loader: descriptors stay open",
        "minidl/data/workers.py",
        "        self.theirs.close()\n        self.close()\n",
        "",
        ("tests/data/test_workers.py::test_a_lost_worker_is_named_and_the_loader_goes_on[ended]",),
    ),
    (
        "loader: after the end of the program a stopped worker is waited for",
        "minidl/data/workers.py",
        "(self.members,), exitpriority=100)",
        "(self.members,))",
        ("tests/data/test_workers.py::test_a_program_may_end_in_the_middle_of_an_epoch",),
    ),
    (
        "loader: half of the workers started stay",
        "minidl/data/workers.py",
        "            except OSError as error:\n                self.stop()\n",
        "            except OSError as error:\n",
        ("tests/data/test_workers.py::test_a_process_that_cannot_be_started",),
    ),
    (
        "loader: exceptions that can't be pickled kill the worker",
        "minidl/data/workers.py",
        "    except Exception:\n        travels = False\n    if not travels:",
        "    except Exception:\n        travels = True\n    if not travels:",
        ("tests/data/test_workers.py::test_an_exception_that_cannot_travel_becomes_one_that_can",),
    ),
    (
        "loader: exceptions lose the worker's traceback",
        "minidl/data/workers.py",
        '    error.add_note(f"Traceback in worker {number} of the DataLoader:\\n{text}")\n',
        "",
        ("tests/data/test_workers.py::test_an_exception_comes_out_whole_and_the_worker_lives_on",),
    ),
    (
        "fork: the memory pool's lock stays held",
        "minidl/kernels/cpu/memory.py",
        "    os.register_at_fork(after_in_child=_pool.after_fork)",
        "    pass",
        (
            "tests/data/test_workers.py::test_a_worker_computes_even_if_the_parent_was_in_the_middle_of_it",
        ),
    ),
    (
        "transport: channels-last becomes contiguous",
        "minidl/data/transport.py",
        "    axes = memory_order(array)\n",
        "    axes = list(range(array.ndim))\n",
        ("tests/data/test_transport.py::test_arrays_arrive_as_they_are",),
    ),
    (
        "transport: axes turned the wrong way",
        "minidl/data/transport.py",
        "    return dense.transpose(sorted(range(len(axes)), key=axes.__getitem__))",
        "    return dense.transpose(axes)",
        ("tests/data/test_transport.py::test_arrays_arrive_as_they_are",),
    ),
    (
        "transport: read-only arrays",
        "minidl/data/transport.py",
        "    if not dense.flags.writeable:\n",
        "    if False:\n",
        ("tests/data/test_transport.py::test_arrays_that_become_dense",),
    ),
    (
        "transport: graphs leave their process",
        "minidl/data/transport.py",
        "    if tensor.node is not None:\n",
        "    if False:\n",
        ("tests/data/test_transport.py::test_what_cannot_leave_its_process",),
    ),
    (
        "transport: everything goes through the pipe",
        "minidl/data/transport.py",
        "        if not self.slots:\n            sizes = memoryview(",
        "        if True:\n            sizes = memoryview(",
        ("tests/data/test_transport.py::test_structures_of_tensors",),
    ),
    (
        "transport: a slot is used again while its batch is",
        "minidl/data/transport.py",
        "            shared = memory.lend(length, lambda: release(slot))",
        "            shared = memory.lend(length, lambda: None)\n            release(slot)",
        (
            "tests/data/test_transport.py::test_a_batch_stays_in_its_slot_until_it_is_dropped",
            "tests/data/test_workers.py::test_batches_that_are_kept_stay_as_they_are",
        ),
    ),
    (
        "transport: arrays in a slot's earlier mappings are copied",
        "minidl/data/transport.py",
        "        for mapping in self.mappings:",
        "        for mapping in self.mappings[-1:]:",
        ("tests/data/test_transport.py::test_a_slot_that_grows_leaves_earlier_arrays_as_they_are",),
    ),
    (
        "loader: batches stay in slots until none is left",
        "minidl/data/workers.py",
        "(None if lent < _MOST_LENT else ordinary_memory)",
        "None",
        ("tests/data/test_workers.py::test_batches_that_are_kept_stay_as_they_are",),
    ),
    (
        "loader: what a transform collates lies where the next batch will",
        "minidl/data/workers.py",
        "        samples: list[Any] = []\n",
        "        samples: list[Any] = []\n        Collation.__init__.__defaults__ = (empty,)\n",
        ("tests/data/test_workers.py::test_what_a_transform_collates_may_be_kept",),
    ),
    (
        "loader: freed memory goes back to the system",
        "minidl/data/workers.py",
        "    _keep_freed_memory()\n",
        "",
        ("tests/data/test_workers.py::test_the_memory_of_a_sample_serves_the_next",),
    ),
    (
        "transport: a forked process loses its batches when its parent drops them",
        "minidl/data/transport.py",
        "        if self.forks == _forks:",
        "        if True:",
        ("tests/data/test_workers.py::test_a_forked_process_keeps_the_batches_that_it_has",),
    ),
    (
        "notes: as often as they are made",
        "minidl/data/notes.py",
        "        if text not in texts:\n            texts.append(text)",
        "        texts.append(text)",
        ("tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",),
    ),
    (
        "notes: those of workers are lost",
        "minidl/data/loader.py",
        "            add_notes(notes, self._notes)\n        if",
        "            pass\n        if",
        ("tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",),
    ),
    (
        "notes: those of a failed batch are lost",
        "minidl/data/loader.py",
        "            finally:\n                add_notes(notes, self._notes)",
        "            except KeyError:\n"
        "                pass\n"
        "            else:\n"
        "                add_notes(notes, self._notes)",
        ("tests/data/test_notes.py::test_notes_come_with_their_batches_once_and_in_order",),
    ),
    (
        "loader: more lines under way than a pipe takes",
        "minidl/data/workers.py",
        "min(ahead, _MOST_ORDERS) + _MOST_LENT if",
        "ahead + _MOST_LENT if",
        ("tests/data/test_workers.py::test_both_sides_never_wait_for_each_other_to_read[True]",),
    ),
    (
        "loader: without shared memory, an order meets a batch in the pipe",
        "minidl/data/workers.py",
        "if HAS_ANONYMOUS_FILES else 1",
        "if HAS_ANONYMOUS_FILES else ahead",
        ("tests/data/test_workers.py::test_both_sides_never_wait_for_each_other_to_read[False]",),
    ),
    (
        "loader: a worker dies of an exception without a message",
        "minidl/data/workers.py",
        "        try:\n            message = str(error)\n        except Exception:",
        "        message = str(error)\n        if False:",
        ("tests/data/test_workers.py::test_an_exception_without_a_message_is_not_the_workers_end",),
    ),
    (
        "loader: a child uses its parent's workers",
        "minidl/data/workers.py",
        "self.lost is None and self._process_id == os.getpid()",
        "self.lost is None",
        ("tests/data/test_workers.py::test_a_forked_process_leaves_its_parents_workers_alone",),
    ),
    (
        "loader: a worker that can't have workers says so in multiprocessing's words",
        "minidl/data/workers.py",
        "if current_process().daemon:",
        "if False:",
        ("tests/data/test_workers.py::test_a_worker_cannot_have_workers",),
    ),
    (
        "loader: an iterator that Ctrl-C has cut short goes on",
        "minidl/data/loader.py",
        "        with self._workers.whole():\n            notes",
        "        if True:\n            notes",
        ("tests/data/test_workers.py::test_ctrl_c_between_two_batches_does_not_lose_one",),
    ),
    (
        "loader: a process begins in the middle of another thread's closing",
        "minidl/data/workers.py",
        "        self.is_open = False  # before",
        "        # before",
        (
            "tests/data/test_workers.py::test_a_process_that_begins_while_another_thread_closes_descriptors",
        ),
    ),
]
