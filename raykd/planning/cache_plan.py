"""What a run would keep of its teachers' outputs, from configurations and manifests alone."""

from dataclasses import dataclass

from raykd.cached_teachers.modes import candidates_of
from raykd.cached_teachers.targets import coverages_of, root_of
from raykd.config.schema.teachers import CacheConfig
from raykd.distill.setup import RunSetup
from raykd.errors import ConfigError
from raykd.storage import uris
from raykd.storage.remote.local_place import require_writable


@dataclass(frozen=True, kw_only=True, slots=True)
class CachePlan:
    """What a run would keep of one teacher's outputs."""

    kept: str
    root: str
    """Directory of caches."""

    rows: int
    """That the run asks about, once in each mask epoch."""

    mask_epochs: int
    """Ways in which the rows that are read most often are masked."""

    def __str__(self) -> str:
        """Describe it in one line."""
        epochs = f", masked in {self.mask_epochs} ways" if self.mask_epochs > 1 else ""
        return f"{self.kept} of {self.rows:,} rows{epochs}, in {self.root}"


def plan_caches(setup: RunSetup) -> dict[str, CachePlan]:
    """Find out what a run would keep of its teachers' outputs, by their names.

    Raises:
        ConfigError: There is no place for it, or a teacher serves no language of the data.
    """
    return {
        name: _planned(name, section.cache, setup)
        for name, section in setup.config.teachers.items()
        if section.cache is not None
    }


def _planned(name: str, section: CacheConfig, setup: RunSetup) -> CachePlan:
    coverages = coverages_of(name, setup)
    if not coverages:
        message = f"teachers.{name}.cache: the teacher serves no language that the run reads"
        raise ConfigError(message)
    candidates = candidates_of(section, setup)
    root = root_of(name, section, setup.config)
    # A name below: the directory of caches itself may not be there yet.
    require_writable(uris.join(root, "any"), f"teachers.{name}.cache.uri")
    return CachePlan(
        kept=str(candidates[0]) if len(candidates) == 1 else "auto",
        root=root,
        rows=sum(coverage.rows for coverage in coverages),
        mask_epochs=1 + max(coverage.epoch for coverage in coverages),
    )
