"""What ``raykd prepare`` reads, how it cuts and tokenises it, and where it goes."""

from dataclasses import asdict, dataclass, field
from typing import Literal

from raykd.config.schema.names import NAME_RULE, is_name

Format = Literal["text", "json", "csv", "parquet", "arrow"]
Quoting = Literal["minimal", "none"]
Demo = Literal["stdlib-docs", "cldr-names"]
Task = Literal["masked_lm", "causal_lm", "sequence_classification", "token_classification"]
LabelType = Literal["class", "number"]

TRAIN = "train"
VALIDATION = "validation"
_NO_DELIMITERS = ('"', "\n", "\r", "\0", " ")
UNDETERMINED = "und"
"""The language of text whose language nobody named (BCP 47)."""

NUMBER: tuple[str, ...] = ()
"""The names of the classes where the label of a row is a number: there are none. Data without
labels have None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """Where the examples come from; several sources of a split are read one after the other."""

    demo: Demo | None = None
    """A corpus that is on every machine, instead of train."""

    train: tuple[str, ...] = ()
    """Files, directories, globs, URIs or Hub names."""

    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The same for each other split, by its name: validation, test or any other."""

    validation_fraction: float = 0.0
    """Share of the training rows that becomes the validation split, by a hash of the text."""

    file_format: Format | None = None
    """Format of every file; null decides by the ending of its name."""

    document: Literal["line", "paragraph", "file"] = "line"
    """What one example is in a text file."""

    delimiter: str | None = None
    """Character between the fields of a CSV file; null is a tab in .tsv files, else a comma."""

    quoting: Quoting | None = None
    """Whether a CSV field may stand in quotation marks, and then hold delimiters, line ends and
    doubled marks (minimal), or marks are text like any other (none); null is none in .tsv files,
    else minimal."""

    hub_config: str | None = None
    """Configuration of a Hub data set."""

    hub_split: str = "train"
    """Split of a Hub data set that is read for training."""

    hub_validation_split: str = "validation"
    """Split of a Hub data set that is read for validation; any other is read by its own name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnOptions:
    """Which columns hold what; null where the data has none."""

    text: str = "text"
    text_pair: str | None = None
    label: str | None = None
    words: str | None = None
    """List of words, instead of text."""

    word_labels: str | None = None
    """List with the label of each word."""

    language: str | None = None

    def named(self) -> list[str]:
        """Return the columns that are read."""
        wanted = [
            self.words or self.text,
            self.text_pair,
            self.label,
            self.word_labels,
            self.language,
        ]
        return [name for name in wanted if name is not None]

    def problems(self) -> list[str]:
        """Return every reason these columns cannot be used together."""
        problems = []
        if (self.words is None) != (self.word_labels is None):
            problems.append("--word-column and --word-label-column need each other")
        if self.words is not None and (self.label is not None or self.text_pair is not None):
            problems.append("--word-column excludes --label-column and --text-pair-column")
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerOptions:
    """Which tokenizer: a given one, or one that is trained on the training split."""

    source: str | None = None
    """Local directory, vocab.txt, tokenizer.json, URI or Hub name; null trains one."""

    kind: Literal["wordpiece", "bpe"] = "wordpiece"
    """What is trained: WordPiece as BERT's, or byte-level BPE as RoBERTa's."""

    vocab_size: int = 8000
    """Entries of a trained vocabulary, special tokens included."""

    lowercase: bool = False
    """Whether a trained tokenizer is blind to case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareOptions:
    """Everything ``raykd prepare`` is told."""

    sources: SourceOptions
    output_uri: str
    """Directory to publish, local or such as s3://bucket/data/wiki."""

    columns: ColumnOptions = field(default_factory=ColumnOptions)
    tokenizer: TokenizerOptions = field(default_factory=TokenizerOptions)
    task: Task | None = None
    """What the data is for; decides only what is refused before work starts."""

    language: str = UNDETERMINED
    """Language of every row, where no column says it."""

    labels: tuple[str, ...] | None = None
    """Allowed labels in the order of their ids; null takes those of the training split."""

    label_type: LabelType = "class"
    """Whether the label of a row names its class, or is a number to predict (regression)."""

    packs: bool = False
    """Whether documents are joined and cut to max_length, or each is a row of its own."""

    max_length: int = 128
    """Tokens of the longest row, special tokens included."""

    num_processes: int = 1
    """Processes that tokenise; no influence on the result."""

    overwrites: bool = False
    """Whether other data at output_uri may be replaced."""

    def record(self) -> dict[str, object]:
        """Return the options that decide the content of the data set, as JSON values."""
        record = asdict(self)
        # What is left is compared with the record of data that are there: the same content is not
        # prepared again, wherever and with however many processes it was.
        for name in ("output_uri", "num_processes", "overwrites"):
            del record[name]
        # Data that were prepared without the option are those of its default.
        if self.label_type == "class":
            del record["label_type"]
        return record

    def problems(self) -> list[str]:
        """Return every reason these options cannot work, each naming its argument."""
        return [
            *self._source_problems(),
            *self.columns.problems(),
            *self._number_problems(),
            *self._task_problems(),
        ]

    def _source_problems(self) -> list[str]:
        sources = self.sources
        problems = []
        # Equal: both are given, or neither.
        if bool(sources.train) == (sources.demo is not None):
            problems.append("name either SOURCES or --demo")
        if sources.splits and sources.demo is not None:
            problems.append(f"--demo has its own splits: it excludes {', '.join(sources.splits)}")
        if VALIDATION in sources.splits and sources.validation_fraction:
            problems.append("--validation excludes --validation-fraction")
        for split in sources.splits:
            if split == TRAIN:
                problems.append(f"--split {TRAIN}=...: name what to train on as SOURCES")
            elif not is_name(split):
                problems.append(f"--split: the name of a split {NAME_RULE}, got {split!r}")
        if (delimiter := sources.delimiter) is not None and (
            len(delimiter) != 1 or delimiter in _NO_DELIMITERS
        ):
            problems.append(
                f"--delimiter must be one character, such as ; or \\t, got {delimiter!r}"
            )
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        if not 0 <= self.sources.validation_fraction < 1:
            fraction = self.sources.validation_fraction
            problems.append(f"--validation-fraction must be in [0, 1), got {fraction}")
        for name, value, minimum in (
            ("max-length", self.max_length, 8),
            ("num-processes", self.num_processes, 1),
            # A byte-level BPE begins with 256 bytes and the special tokens.
            ("vocab-size", self.tokenizer.vocab_size, 300),
        ):
            if value < minimum:
                problems.append(f"--{name} must be >= {minimum}, got {value}")
        if self.labels is not None and "" in self.labels:
            problems.append(f"--labels has an empty label: {','.join(self.labels)!r}")
        if not self.language:
            problems.append("--language is empty: give a code such as en, or leave it out")
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            problems.append(f"--labels names a label twice: {', '.join(self.labels)}")
        return problems

    def _task_problems(self) -> list[str]:
        columns = self.columns
        problems = []
        if self.packs and (columns.label or columns.words or columns.text_pair):
            problems.append("--pack joins documents: it excludes labels, words and text pairs")
        if self.task == "sequence_classification" and columns.label is None:
            problems.append("--task sequence_classification needs --label-column")
        if self.task == "token_classification" and columns.words is None:
            problems.append("--task token_classification needs --word-column")
        if self.labels is not None and not (columns.label or columns.word_labels):
            problems.append("--labels needs --label-column or --word-label-column")
        if self.label_type == "number" and columns.label is None:
            problems.append("--label-type number needs --label-column")
        if self.label_type == "number" and self.labels is not None:
            problems.append("--label-type number excludes --labels: numbers are no classes")
        return problems
