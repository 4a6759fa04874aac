"""Modules that moved to minidl.training can still be imported under their former names."""

from __future__ import annotations

import importlib

import pytest

PLACES = {
    "minidl.checkpoints": "Checkpoints NAMES",
    "minidl.vision.report": "write",
    "minidl.vision.schedules": "SCHEDULES has_color_noise make_scheduler parameter_groups",
    "minidl.vision.training": "BadImages Interrupted Interruption Leniency RunLog Waiting at_least "
    "latest_run make_folder new_run resumed_settings speak_to_nobody versions",
    "minidl.vision.watch": "FiniteCheck FlatLoss NotFiniteError",
    "minidl.vision.metrics": "RunningMeans",
    "minidl.__main__": "report",
}


@pytest.mark.parametrize("place", PLACES)
def test_former_module_has_its_names(place: str) -> None:
    module = importlib.import_module(place)
    for name in PLACES[place].split():
        assert hasattr(module, name), name
