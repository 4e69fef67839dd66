"""The final model of a run: a transformers directory with tokenizer and model card."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from raykd import __version__
from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import write_yaml
from raykd.models.build import AUTO_CLASSES
from raykd.models.files import CONFIG_FILE, PROJECTIONS_FILE, languages_of
from raykd.models.load import ModelFiles, save_files
from raykd.storage.published import layout
from raykd.storage.published.publishing import publishing

KIND = layout.MODEL_KIND


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedModel:
    """All that is published of a student."""

    model: ModelFiles
    config: RunConfig
    """The run, for the model card."""

    companions: Path
    """Local directory of what stands beside the weights, as ``companions_of`` it."""

    metrics: dict[str, float]
    """What the model scores, for the model card."""

    origin: dict[str, object] = field(default_factory=dict)
    """What the manifest says of the model: which run and step made it, if one did."""


def export_model(
    exported: ExportedModel,
    uri: str,
    *,
    overwrites: bool = False,
    check: Callable[[Path], None] | None = None,
) -> None:
    """Publish a model that ``transformers`` loads with ``from_pretrained``.

    Args:
        exported: The trained student.
        uri: Directory to appear.
        overwrites: Whether a model that was published there is replaced.
        check: Refuses what is about to be published; it is given the local directory.
    """
    model = exported.model
    with publishing(uri, kind=KIND, overwrites=overwrites) as publication:
        # A checkpoint has its companions beside the weights, which are written below.
        shutil.copytree(
            exported.companions,
            publication.path,
            ignore=shutil.ignore_patterns(CONFIG_FILE, "*.safetensors"),
            dirs_exist_ok=True,
        )
        save_files(model, publication.path)
        languages = languages_of(model.config)
        card = model_card(exported.config, exported.metrics, languages=languages)
        (publication.path / "README.md").write_text(card, encoding="utf-8")
        publication.content |= exported.origin
        # Before the commit: where it raises, nothing appears.
        if check is not None:
            check(publication.path)


def model_card(
    config: RunConfig, metrics: dict[str, float], *, languages: tuple[str, ...] | None
) -> str:
    """Return the model's README: what it learned, from whom, and how well.

    Args:
        config: The run.
        metrics: What the model scores.
        languages: Languages with a projection of their own; None where they share one.
    """
    header = write_yaml({"library_name": "transformers", "tags": ["raykd", config.task]})
    teachers = [
        f"- teacher `{name}`: `{teacher.model or 'unigram'}`"
        for name, teacher in config.teachers.items()
    ]
    return "\n".join(
        [
            f"---\n{header}---",
            f"# {config.name}",
            "",
            f"A model for `{config.task}`, trained with raykd {__version__}.",
            "",
            *(_how_to_load(languages, AUTO_CLASSES[config.task].__name__) if languages else []),
            f"- data: `{config.data.uri}`, split `{config.data.train_split}`",
            *(teachers or ["- no teacher: trained on the true labels alone"]),
            "",
            *_scores(metrics, "eval/", split=config.data.eval_split),
            *_scores(metrics, "test/", split=config.data.test_split),
            "The configuration that made it:",
            "",
            f"```yaml\n{as_yaml(config)}```",
            "",
        ]
    )


def _scores(metrics: dict[str, float], prefix: str, *, split: str | None) -> list[str]:
    """Return the table of what a model scores on a split, if it was scored."""
    rows = [
        f"| {name} | {value:.4f} |"
        for name, value in sorted(metrics.items())
        if name.startswith(prefix)
    ]
    if not rows:
        return []
    return [
        f"Evaluation on split `{split}`:",
        "",
        "| metric | value |",
        "| --- | --- |",
        *rows,
        "",
    ]


def _how_to_load(languages: tuple[str, ...], auto_class: str) -> list[str]:
    """Say how transformers alone loads the model of one language."""
    return [
        f"One encoder with a projection for each of {', '.join(languages)}. `from_pretrained` "
        f"loads the model of `{languages[0]}`; any other's projection is put in its place:",
        "",
        "```python",
        "from safetensors.torch import load_file",
        f"from transformers import {auto_class}",
        "",
        'path = "path/to/this/directory"',
        f'language = "{languages[-1]}"',
        f"model = {auto_class}.from_pretrained(path)",
        f'projections = load_file(f"{{path}}/{PROJECTIONS_FILE}")',
        'prefix = f"{language}/"',
        "model.load_state_dict(",
        "    {",
        "        name.removeprefix(prefix): tensor",
        "        for name, tensor in projections.items()",
        "        if name.startswith(prefix)",
        "    },",
        "    strict=False,",
        ")",
        "```",
        "",
    ]
