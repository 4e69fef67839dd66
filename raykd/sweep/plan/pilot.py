"""The earlier study that a study takes the spread of its differences from."""

from raykd.config.schema.sweep import SweepConfig
from raykd.storage import uris
from raykd.sweep.ledger import Ledger, SweepPaths, read_ledger


def pilot_of(sweep: SweepConfig) -> Ledger | None:
    """Return what is known of a study's pilot; None where it has none.

    Raises:
        ConfigError: No study is there.
    """
    return None if sweep.pilot is None else read_ledger(uris.absolute(sweep.pilot))


def pilot_problems(sweep: SweepConfig, *, own_uri: str) -> list[str]:
    """Return why a study cannot have the pilot that it names; nothing where it can.

    Args:
        sweep: The study.
        own_uri: Its directory.
    """
    if sweep.pilot is None:
        return []
    place = uris.absolute(sweep.pilot).rstrip("/")
    if place == own_uri:
        return [f"pilot={sweep.pilot} is this sweep, whose results count anyway: leave it out"]
    if uris.exists(SweepPaths(sweep=place).index):
        return []
    return [
        f"pilot={sweep.pilot} holds no sweep: give the directory of an earlier one, as its "
        "raykd sweep named it"
    ]
