"""What is trained in each case of the comparison, and what raykd has to reach in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BASE = "transformers"
"""The way whose speed and memory all others are given in."""

FLOOR = "raykd-floor"
"""What measures the floor of a step beside the ways."""

LEARNING_RATE = 5e-4

BUCKET_STEPS = 4
"""Steps that share out their rows by length where raykd does so: the others take the same rows in
them, in another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSize:
    """A transformer without dropout, so that all ways compute the same losses."""

    num_layers: int
    hidden_size: int
    num_heads: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One distillation: the objective is cross entropy + temperature squared x KL."""

    name: str
    task: str
    title: str
    student: ModelSize
    teacher: ModelSize
    vocab_size: int
    max_length: int
    batch_rows: int
    micro_batch_rows: int
    """Of raykd, which sorts the rows of a step by length; the others pad the whole batch."""

    num_steps: int
    """The warm-up included."""

    num_warm_up_steps: int
    """Before the clock starts: memory is allocated in them, and files are opened."""

    temperature: float
    num_classes: int | None = None
    least_speed: Mapping[str, float] = field(default_factory=dict)
    """Way of raykd to how many times as fast as the base it has to be; 1 where nothing is set."""

    least_share_of_floor: Mapping[str, float] = field(default_factory=dict)
    """Way of raykd to the floor of a step over its CPU seconds, at least."""

    unfit: Mapping[str, str] = field(default_factory=dict)
    """Way of a peer that the case is not for, to why."""

    most_memory_share: float | None = None
    """Of the base's memory, that raykd may take with a live teacher."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Return the peers, the base first, and the ways of raykd."""
        return (*PEERS, *self.least_speed)


PEERS = (
    BASE,
    "transformers-picked",
    "transformers-bf16",
    "trl",
    "textbrewer",
    "torchdistill",
)
_NO_TRL = "for causal language models only"
_NO_TORCHDISTILL = "its KDLoss takes the softmax over dimension 1, which is the tokens'"

_MINI = ModelSize(num_layers=4, hidden_size=256, num_heads=4)
_MEDIUM = ModelSize(num_layers=8, hidden_size=512, num_heads=8)

CASES = {
    case.name: case
    for case in (
        Case(
            name="masked",
            task="masked_lm",
            title="masked LM, 4 x 256 from 8 x 512, 30,522 words, rows of up to 128 tokens",
            student=_MINI,
            teacher=_MEDIUM,
            vocab_size=30_522,
            max_length=128,
            batch_rows=16,
            micro_batch_rows=16,
            num_steps=4,
            num_warm_up_steps=1,
            temperature=2.0,
            least_speed={
                "raykd": 3.6,
                "raykd-bf16": 8.0,
                "raykd-cached": 8.0,
                "raykd-cached-bf16": 12.0,
            },
            least_share_of_floor={"raykd": 0.75, "raykd-cached": 0.7},
            unfit={"trl": _NO_TRL, "torchdistill": _NO_TORCHDISTILL},
            most_memory_share=0.45,
        ),
        Case(
            name="causal",
            task="causal_lm",
            title="causal LM, 4 x 256 from 4 x 256, 50,257 words, rows of up to 128 tokens",
            student=_MINI,
            teacher=_MINI,
            vocab_size=50_257,
            max_length=128,
            batch_rows=8,
            micro_batch_rows=8,
            num_steps=4,
            num_warm_up_steps=1,
            # TRL's trainer divides by none.
            temperature=1.0,
            least_speed={
                "raykd": 2.4,
                "raykd-bf16": 5.0,
                "raykd-cached": 1.0,
                "raykd-cached-bf16": 5.5,
            },
            least_share_of_floor={"raykd": 0.75},
            unfit={
                "transformers-picked": "all places are scored",
                "torchdistill": _NO_TORCHDISTILL,
            },
            most_memory_share=0.5,
        ),
        Case(
            name="classes",
            task="sequence_classification",
            title="20 classes, 4 x 256 from 8 x 512, sentences of mixed length",
            student=_MINI,
            teacher=_MEDIUM,
            vocab_size=30_522,
            max_length=128,
            batch_rows=32,
            micro_batch_rows=8,
            num_steps=2 * BUCKET_STEPS,
            num_warm_up_steps=BUCKET_STEPS,
            temperature=2.0,
            num_classes=20,
            least_speed={
                "raykd": 1.0,
                "raykd-buckets": 2.0,
                "raykd-buckets-bf16": 4.0,
                "raykd-buckets-cached": 7.0,
                "raykd-buckets-cached-bf16": 9.0,
            },
            unfit={"transformers-picked": "one place a row", "trl": _NO_TRL},
        ),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """Where what a case needs lies: the same for all ways."""

    root: Path

    @property
    def data(self) -> Path:
        """Return the prepared data set."""
        return self.root / "data"

    @property
    def student(self) -> Path:
        """Return the student as it starts."""
        return self.root / "student"

    @property
    def teacher(self) -> Path:
        """Return the teacher."""
        return self.root / "teacher"

    @property
    def rows(self) -> Path:
        """Return the rows of every step as raykd reads them."""
        return self.root / "rows.safetensors"

    def output(self, way: str) -> Path:
        """Return where a way may write."""
        return self.root / "output" / way
