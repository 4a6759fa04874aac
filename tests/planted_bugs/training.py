"""Bugs to plant in the training program and its parts: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "watch: a loss that is infinite passes",
        "minidl/vision/watch.py",
        "        if not math.isfinite(value):",
        "        if math.isnan(value):",
        ("tests/vision/test_watch.py::test_a_loss_that_breaks_by_itself",),
    ),
    (
        "watch: the parameters are not looked at",
        "minidl/vision/watch.py",
        "    return bool(np.isfinite(totals).all())",
        "    return True",
        (
            "tests/vision/test_watch.py::test_broken_gradient_is_named_in_the_step_that_uses_it",
            "tests/examples/test_alexnet_imagenet.py::test_broken_gradient_is_not_saved",
        ),
    ),
    (
        "watch: the last piece of a parameter is not looked at",
        "minidl/vision/watch.py",
        "        for start in range(0, flat.size, _PIECE)",
        "        for start in range(0, max(flat.size - _PIECE, 1), _PIECE)",
        ("tests/vision/test_watch.py::test_every_part_of_a_large_parameter_is_seen",),
    ),
    (
        "watch: a sum that overflows is an alarm",
        "minidl/vision/watch.py",
        "            if found := _describe(parameter.array):\n"
        "                raise NotFiniteError(",
        '            if found := _describe(parameter.array) or "1 inf":\n'
        "                raise NotFiniteError(",
        ("tests/vision/test_watch.py::test_a_sum_that_overflows_is_no_alarm",),
    ),
    (
        "watch: the gradient farthest from the loss is named",
        "minidl/vision/watch.py",
        "in reversed(parameters.items())",
        "in parameters.items()",
        ("tests/vision/test_watch.py::test_the_gradient_nearest_to_the_loss_is_named",),
    ),
    (
        "watch: the last broken layer is named",
        "minidl/vision/watch.py",
        "if not first and (found := _describe(output.array)):",
        "if (found := _describe(output.array)) and not first.clear():",
        ("tests/vision/test_watch.py::test_broken_layer_is_named",),
    ),
    (
        "watch: the hint comes again and again",
        "minidl/vision/watch.py",
        "                self._told |= due",
        "                pass",
        ("tests/vision/test_watch.py::test_flat_loss_tells_once",),
    ),
    (
        "watch: what the flat loss noted is forgotten",
        "minidl/vision/watch.py",
        '        self._told = state_dict["told"]',
        "        self._told = False",
        ("tests/vision/test_watch.py::test_flat_loss_goes_on_from_its_state",),
    ),
    (
        "schedules: conv1 is not frozen",
        "minidl/vision/schedules.py",
        "    return 0.1 * factor if done < _FIRST_STOPS else 0.0",
        "    return 0.1 * factor",
        ("tests/vision/test_schedules.py::test_original_is_the_published_log",),
    ),
    (
        "schedules: biases drop with the weights",
        "minidl/vision/schedules.py",
        '_DROPS[:1] if group["bias"] else _DROPS',
        "_DROPS",
        ("tests/vision/test_schedules.py::test_original_is_the_published_log",),
    ),
    (
        "schedules: drops by hand are shares of the run",
        "minidl/vision/schedules.py",
        "[drop / epochs for drop in drops]",
        "[drop / 90 for drop in drops]",
        ("tests/vision/test_schedules.py::test_by_hand_in_epochs_whatever_the_length",),
    ),
    (
        "batches: an epoch begins anew after a resume",
        "minidl/vision/batches.py",
        "self._train_loader.iterate(start)",
        "self._train_loader.iterate()",
        ("tests/vision/test_batches.py::test_an_epoch_can_be_entered_anywhere",),
    ),
    (
        "batches: the statistics may change",
        "minidl/vision/batches.py",
        "np.array_equal(mine[name], theirs[name])",
        "True",
        ("tests/vision/test_batches.py::test_state_knows_its_pictures",),
    ),
    (
        "batches: bad pictures are not counted",
        "minidl/vision/batches.py",
        '                self.bad.update(loader.notes.get("bad image", ()))',
        "                pass",
        ("tests/vision/test_batches.py::test_bad_pictures_are_counted_between_batches",),
    ),
    (
        "training: the second signal waits as well",
        "minidl/vision/training.py",
        "        if again or not self.waits:",
        "        if not self.waits:",
        ("tests/vision/test_training.py::test_second_signal_leaves_at_once",),
    ),
    (
        "training: signals are one",
        "minidl/vision/training.py",
        "        return 128 + self.number",
        "        return 130",
        ("tests/vision/test_training.py::test_interruption_waits_for_the_step",),
    ),
    (
        "training: half a line stays in the log",
        "minidl/vision/training.py",
        "                    file.truncate(self._end)  # half a line",
        "                    pass",
        ("tests/vision/test_training.py::test_full_disk_leaves_gaps_and_no_half_lines",),
    ),
    (
        "training: a log that can't be written ends the training",
        "minidl/vision/training.py",
        "        except (OSError, DataError) as error:",
        "        except DataError as error:",
        (
            "tests/vision/test_training.py::test_leniency_warns_once_for_each",
            "tests/vision/test_training.py::test_log_without_a_folder_to_write_in",
        ),
    ),
    (
        "training: bad pictures of an earlier part are forgotten",
        "minidl/vision/training.py",
        'text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""',
        'text = ""',
        ("tests/vision/test_training.py::test_bad_images_are_listed_and_limited",),
    ),
    (
        "training: any setting may change",
        "minidl/vision/training.py",
        "        if given[name] != saved.get(name):",
        "        if False:",
        (
            "tests/vision/test_training.py::test_resumed_settings",
            "tests/examples/test_alexnet_imagenet.py::test_a_run_that_is_resumed_keeps_its_settings",
        ),
    ),
    (
        "program: broken weights are saved",
        "examples/alexnet_imagenet.py",
        "        self.finite.parameters(self.step)  # ends the program "
        "rather than save broken weights\n",
        "",
        ("tests/examples/test_alexnet_imagenet.py::test_broken_weights_are_not_saved",),
    ),
    (
        "program: a broken gradient is found in the next step",
        "examples/alexnet_imagenet.py",
        "        self.finite.parameters(self.step)\n        if self.flat",
        "        if self.flat",
        ("tests/examples/test_alexnet_imagenet.py::test_broken_gradient_is_not_saved",),
    ),
    (
        "program: the random state is not restored",
        "examples/alexnet_imagenet.py",
        '        minidl.set_rng_state(state["rng"])',
        "        pass",
        ("tests/examples/test_alexnet_imagenet.py::test_resumed_run_equals_the_uninterrupted_one",),
    ),
    (
        "program: rates by hand come a schedule too late",
        "examples/alexnet_imagenet.py",
        "            self.scheduler.step(self.step)",
        "            pass",
        (
            "tests/examples/test_alexnet_imagenet.py::test_a_damaged_checkpoint_gives_way_to_the_one_before",
        ),
    ),
    (
        "program: the hint is not given",
        "examples/alexnet_imagenet.py",
        '            print(f"\\nhint: {self.flat.hint}", file=sys.stderr)',
        "            pass",
        ("tests/examples/test_alexnet_imagenet.py::test_a_loss_that_stays_gets_one_hint",),
    ),
]
