"""One of the runs that train in one process."""

from dataclasses import dataclass

from raykd.config.schema.run import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One of the runs of a process."""

    run: str
    """Its id."""

    config: RunConfig
    """Of one worker."""

    log_uri: str
    """File that gets what the run prints and logs."""
