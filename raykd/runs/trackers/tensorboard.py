"""Metrics as TensorBoard events, beside metrics.jsonl."""

from torch.utils.tensorboard import SummaryWriter

from raykd.runs.metrics import Record, measured


class TensorBoardTracker:
    """Writes TensorBoard events, in place of those that earlier workers wrote."""

    def __init__(self, uri: str) -> None:
        # TensorBoard drops the events of older files from that step on: it shows each step once.
        self._writer = SummaryWriter(uri, purge_step=0)

    def log(self, record: Record) -> None:
        """Take one record."""
        for name, value in measured(record).items():
            self._writer.add_scalar(name, value, int(record["step"]))

    def close(self, *, is_done: bool) -> None:  # noqa: ARG002  an event file has no such state
        """Write what is left and end TensorBoard's thread."""
        self._writer.close()
