"""The Ray cluster that raykd prepare tokenises on: there when something is to be tokenised."""

from collections.abc import Generator
from dataclasses import dataclass

from raykd.data.prepare.inputs import ReadingMeter
from raykd.data.prepare.parts import Part, Work
from raykd.ray_cluster.connect import ray_cluster


@dataclass(frozen=True, kw_only=True, slots=True)
class RayTokenisers:
    """Tasks of a Ray cluster that this process joins, or starts, for them."""

    address: str
    """``local``, or the address of a cluster."""

    num_cpus: int
    """CPU cores of a local cluster."""

    @property
    def are_elsewhere(self) -> bool:
        """They run on every node."""
        return True

    def parts(self, work: Work, meter: ReadingMeter) -> Generator[Part]:
        """Yield all parts as they are finished.

        Raises:
            WorkersFailedError: Ray's retries are spent.
        """
        with ray_cluster(self.address, num_cpus=self.num_cpus, num_gpus=0):
            # Imported here: Ray takes seconds, and reads the environment that ray_cluster sets.
            from raykd.data.prepare.on_ray import ray_parts  # noqa: PLC0415

            yield from ray_parts(work, meter)
