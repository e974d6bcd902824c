"""A profile whose truth is known, and its fit, made once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from analysis.fingerprint import fingerprint
from calibration import recovery, synthetic
from calibration.fit import fit_profile
from calibration.profiles import Profile, read_profile
from scenarios.load import load
from sim.costs import Calibration


@pytest.fixture(scope="session")
def true_costs() -> Calibration:
    """Costs drawn at random."""
    return synthetic.truth(np.random.default_rng(5))


@pytest.fixture(scope="session")
def synthetic_profile(true_costs: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A quick profile of a machine with those costs, with noise."""
    folder = tmp_path_factory.mktemp("synthetic")
    return read_profile(synthetic.write_profile(folder, load(recovery.BASE), true_costs, np.random.default_rng(6)))


@pytest.fixture(scope="session")
def fitted(synthetic_profile: Profile) -> Calibration:
    """Its fit, as if it were of this host."""
    found = fit_profile(synthetic_profile, "fitted", replicates=24)
    return dataclasses.replace(found, fingerprint=dict(fingerprint()))


@pytest.fixture(scope="session")
def fitted_file(fitted: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fit as a file; whoever writes to it copies it first."""
    from sim import costs

    path = tmp_path_factory.mktemp("calibrations") / "fitted.json"
    costs.write(fitted, path)
    return path
