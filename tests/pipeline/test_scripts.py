"""The scripts name what is there: a move in the packages must not break what only people start."""

import importlib
import pkgutil

import pytest

import scripts

ALL = [module.name for module in pkgutil.walk_packages(scripts.__path__, "scripts.")]


@pytest.mark.parametrize("name", ALL)
def test_a_script_can_be_imported(name):
    assert importlib.import_module(name).__doc__ or name.endswith("train_demo")
