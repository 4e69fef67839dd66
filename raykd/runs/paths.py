"""What lies where in a run's directory.

    OUTPUT_URI/NAME-HASH/
      run.yaml              the resolved configuration
      inputs.json           what its data and models held, for others of its configuration
      lease.json            who is writing the run right now
      init.json             where each tensor of a built student came from
      metrics.jsonl         one line per report or evaluation; metrics.parts/ until the end
                            in an object store, see raykd.runs.append_log
      checkpoints/step-00000100/   published: student/ optimizer/ state.json
      profile.json.gz       where configured: a trace of some steps
      model/                published: the final model as a transformers directory
      result.json           written last: the run is done
      log.txt               what a trial of a sweep printed
      tensorboard/ wandb/   where configured
      tracking.json         what the trackers call the run
      ray/                  what Ray Train keeps for itself while the run goes on

OUTPUT_URI may be local or remote.
"""

from dataclasses import dataclass

from raykd.config.identity import run_id
from raykd.config.schema.run import RunConfig
from raykd.runs.inputs import is_pinned, pinned
from raykd.storage import uris
from raykd.storage.published import layout


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The URIs of one run."""

    run: str

    @property
    def name(self) -> str:
        """The run's name and hash."""
        return self.run.rstrip("/").rpartition("/")[2]

    @property
    def config(self) -> str:
        """The resolved configuration."""
        return uris.join(self.run, layout.RUN_CONFIG)

    @property
    def inputs(self) -> str:
        """What the data and models of the run held."""
        return uris.join(self.run, layout.INPUTS)

    @property
    def lease(self) -> str:
        """Who is writing the run."""
        return uris.join(self.run, layout.LEASE)

    @property
    def metrics(self) -> str:
        """One JSON object per line; read and written by ``raykd.runs.metrics``."""
        return uris.join(self.run, "metrics.jsonl")

    @property
    def profile(self) -> str:
        """Trace of the steps that ``train.profile_steps`` names; gzip of Chrome's JSON."""
        return uris.join(self.run, "profile.json.gz")

    @property
    def init(self) -> str:
        """Where the tensors of the student came from."""
        return uris.join(self.run, "init.json")

    @property
    def checkpoints(self) -> str:
        """Directory of published checkpoints."""
        return uris.join(self.run, layout.CHECKPOINTS)

    @property
    def model(self) -> str:
        """The exported model."""
        return uris.join(self.run, layout.MODEL)

    @property
    def result(self) -> str:
        """Final metrics; there once the run is done."""
        return uris.join(self.run, "result.json")

    @property
    def log(self) -> str:
        """What a trial of a sweep printed, all attempts."""
        return uris.join(self.run, "log.txt")

    @property
    def ray(self) -> str:
        """What Ray Train writes for itself; gone when the driver has ended."""
        return uris.join(self.run, layout.RAY)

    @property
    def tensorboard(self) -> str:
        """Directory of TensorBoard events."""
        return uris.join(self.run, "tensorboard")

    @property
    def wandb(self) -> str:
        """Directory of W&B's offline runs."""
        return uris.join(self.run, "wandb")

    @property
    def tracking(self) -> str:
        """What the trackers call the run."""
        return uris.join(self.run, "tracking.json")

    @property
    def files(self) -> tuple[str, ...]:
        """What is written once, beside the lease and the metrics."""
        decided = (self.config, self.inputs, self.init)
        return (*decided, self.profile, self.result, self.log, self.tracking)

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of which one at least is in the directory of a run that has begun.

        Each will do: servers that have started anew may list at first only what is written since.
        """
        marks = (*self.files, self.lease, self.metrics)
        return tuple(mark.rpartition("/")[2] for mark in marks)


def run_paths(config: RunConfig) -> RunPaths:
    """Return where a run writes: the same content and configuration, the same place.

    Raises:
        RaykdError: An input of a run that is not pinned is not there.
    """
    named = config if is_pinned(config) else pinned(config)
    return RunPaths(uris.join(uris.absolute(config.output_uri), run_id(named)))
