"""The private names of Ray are there, in the pinned Ray."""

import importlib

import pytest


@pytest.mark.parametrize("module", ["raykd.ray_cluster.private", "raykd.train.on_ray.private"])
def test_every_private_name_of_ray_is_there(module: str) -> None:
    private = importlib.import_module(module)
    assert private.__all__
    assert all(getattr(private, name) is not None for name in private.__all__)
