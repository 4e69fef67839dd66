"""Which prepared data a run reads, and in what mixture."""

from dataclasses import dataclass, field

SEEN, UNSEEN = "seen", "unseen"
"""Before the names of metrics: over the languages that are trained on, and over the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TemperatureMixingConfig:
    """Draw languages in proportion to a power of their size."""

    # As XLM-R samples (Conneau et al., 2020).
    exponent: float = 0.3
    """1 is proportional to the number of rows, 0 is uniform over languages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedMixingConfig:
    """Draw languages with given weights."""

    weights: dict[str, float]
    """Language to its share of the rows drawn; the weights need not sum to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveMixingConfig:
    """Draw languages by how far the student is behind its teachers (AMTSS, reconstructed).

    The share of a language is in proportion to exp(gap / temperature), where its gap is the
    accuracy of its best teacher minus the student's. Shares are uniform before the first
    evaluation, follow the newest one, and are part of a checkpoint.
    """

    temperature: float = 0.1
    """Accuracy, between 0 and 1, that counts as a large gap; lower favours the worst language."""

    floor: float = 0.5
    """Share of the rows that is drawn uniformly whatever the gaps, so that no language starves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MixingConfig:
    """How several languages are mixed; exactly one section is present."""

    temperature: TemperatureMixingConfig | None = None
    fixed: FixedMixingConfig | None = None
    adaptive: AdaptiveMixingConfig | None = None

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = []
        present = [x for x in (self.temperature, self.fixed, self.adaptive) if x is not None]
        if len(present) != 1:
            problems.append("data.mixing needs exactly one of temperature, fixed and adaptive")
        if self.temperature is not None and not 0 <= self.temperature.exponent <= 1:
            value = self.temperature.exponent
            problems.append(
                f"data.mixing.temperature.exponent must be between 0 and 1, got {value}"
            )
        if self.fixed is not None and (
            # A language with weight 0 is one that data.languages leaves out.
            not self.fixed.weights or min(self.fixed.weights.values()) <= 0
        ):
            problems.append(f"data.mixing.fixed.weights must all be > 0, got {self.fixed.weights}")
        if (adaptive := self.adaptive) is not None:
            if adaptive.temperature <= 0:
                value = adaptive.temperature
                problems.append(f"data.mixing.adaptive.temperature must be > 0, got {value}")
            if not 0 < adaptive.floor <= 1:
                value = adaptive.floor
                problems.append(f"data.mixing.adaptive.floor must be in (0, 1], got {value}")
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskingConfig:
    """Which tokens masked-language modelling hides, and behind what (BERT, section 3.1)."""

    fraction: float = 0.15
    """Probability of each token to be scored."""

    mask_fraction: float = 0.8
    """Share of the scored tokens that is replaced by the mask token."""

    random_fraction: float = 0.1
    """Share of the scored tokens that is replaced by a random token; the rest stays."""

    num_variants: int | None = None
    """Ways in which a row is masked: after so many epochs they come again, and what a teacher says
    of them need not be computed again. null masks anew in every epoch."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = []
        if self.num_variants is not None and self.num_variants < 1:
            problems.append(
                f"data.masking.num_variants must be >= 1 or null, got {self.num_variants}"
            )
        if not 0 < self.fraction <= 1:
            problems.append(f"data.masking.fraction must be in (0, 1], got {self.fraction}")
        if min(self.mask_fraction, self.random_fraction) < 0 or (
            self.mask_fraction + self.random_fraction > 1
        ):
            problems.append(
                "data.masking.mask_fraction and random_fraction must be >= 0 and sum to at most "
                f"1, got {self.mask_fraction} and {self.random_fraction}"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """A data set made by ``raykd prepare``, and the order it is read in."""

    uri: str
    """Directory that ``raykd prepare`` wrote, local or such as s3://bucket/data/wiki."""

    train_split: str = "train"
    """Split to train on."""

    eval_split: str | None = "validation"
    """Split to evaluate on; null evaluates never."""

    test_split: str | None = None
    """Split that the run's model is scored on, once, after the last step; nothing is chosen by
    it. null scores none."""

    languages: tuple[str, ...] | None = None
    """Languages to train on; null takes all."""

    eval_languages: tuple[str, ...] | None = None
    """Languages to evaluate on; null takes those of data.languages. Where some are not trained on,
    evaluations have the metrics of the languages that are (eval/seen/loss) and of the others
    (eval/unseen/loss) beside those of all rows (eval/loss). Unseen rows decide nothing in a run:
    the best checkpoint has the lowest eval/seen/loss (there is none where no language is seen),
    and adaptive mixing and importance per language follow the languages that are trained on. A
    sweep chooses by the metric it names: where it tunes, searches or stops trials, that has to be
    one of eval/seen or eval/unseen, or of a language that is trained on."""

    fraction: float = 1.0
    """Share of the rows of train_split that is read, in (0, 1]: of each language, and in
    sequence_classification of each of its classes, to the nearest whole row. A smaller one's rows
    are among a larger one's; other splits stay whole."""

    # Apart from train.seed: runs that differ by seed learn from the same rows.
    fraction_seed: int = 17
    """Decides which rows fraction keeps; train.seed does not."""

    mixing: MixingConfig | None = None
    """How languages are mixed; null reads every row once per epoch, whatever its language."""

    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """Which tokens masked_lm hides, and behind what; the other tasks hide none."""

    # A constant and not the number of workers: the order of examples is the same with any number
    # of them, and a run may go on with fewer.
    num_lanes: int = 16
    """Parallel slices of the data, at least one per worker; part of the order of examples."""

    shuffle_window: int = 4
    """Record batches (about 1 MiB each) whose rows are shuffled together in each lane."""

    bucket_steps: int = 1
    """Steps that share out their rows so that each has rows of like length, and little is padded;
    which of them has the long ones is random. 1 leaves every row in its step."""

    @property
    def scored_splits(self) -> dict[str, str]:
        """The splits that are scored, by the names of their keys."""
        splits = {"eval_split": self.eval_split, "test_split": self.test_split}
        return {key: split for key, split in splits.items() if split is not None}

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = [*self.masking.problems(), *(self.mixing.problems() if self.mixing else [])]
        problems += self._language_problems()
        if not 0 < self.fraction <= 1:
            problems.append(f"data.fraction must be in (0, 1], got {self.fraction}")
        if not 0 <= self.fraction_seed < 2**31:
            problems.append(f"data.fraction_seed must be in [0, 2^31), got {self.fraction_seed}")
        problems += [
            f"data.test_split and {key} are both {split!r}: a test split is one that nothing is "
            "trained on or chosen by; name another, or null"
            for key, split in (
                ("data.train_split", self.train_split),
                ("data.eval_split", self.eval_split),
            )
            if split is not None and split == self.test_split
        ]
        if self.num_lanes < 1:
            problems.append(f"data.num_lanes must be >= 1, got {self.num_lanes}")
        if self.bucket_steps < 1:
            problems.append(f"data.bucket_steps must be >= 1, got {self.bucket_steps}")
        if self.bucket_steps > 1 and self.mixing is not None and self.mixing.adaptive is not None:
            problems.append(
                f"data.bucket_steps is {self.bucket_steps}, but with data.mixing.adaptive an "
                "evaluation decides what the next step reads: set it to 1"
            )
        if self.shuffle_window < 1:
            problems.append(f"data.shuffle_window must be >= 1, got {self.shuffle_window}")
        return problems

    def _language_problems(self) -> list[str]:
        problems = []
        if self.languages is not None and not self.languages:
            problems.append("data.languages is empty: name at least one, or null for all")
        if self.eval_languages is not None and not self.eval_languages:
            problems.append(
                "data.eval_languages is empty: name at least one, or null for data.languages"
            )
        return problems
