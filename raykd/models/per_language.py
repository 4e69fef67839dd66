"""One encoder with a task head for every language: the student of AMTSS.

AMTSS (Chen et al., 2023, arXiv 2305.07928) has "a shared student encoder with different
projection layers"; that a projection is the family's whole task head, such as BERT's pooler and
classifier, is a choice of ours.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from raykd.batch import to_device
from raykd.errors import ModelError
from raykd.models.families import family_of
from raykd.models.heads import Head
from raykd.models.parts import places_of
from raykd.scores import DenseScores


class PerLanguageModel(torch.nn.Module):
    """A task model of transformers whose head exists once for every language.

    The model's own head is that of the first language; those of the others stand beside it.
    """

    def __init__(self, model: PreTrainedModel, languages: tuple[str, ...]) -> None:
        """Give every language a copy of a model's head.

        Args:
            model: A classifier of transformers; it becomes a part of this module.
            languages: At least one, each once.

        Raises:
            ValueError: There is no language, or one twice.
        """
        super().__init__()
        if not languages or len(set(languages)) < len(languages):
            message = f"languages must be given, each once, got {languages}"
            raise ValueError(message)
        self.model = model
        self.languages = languages
        # Found once: every forward pass asks for the model of each language.
        self._head_paths = _head_paths(model)
        self.heads = torch.nn.ModuleDict(
            {
                _key(language): copy.deepcopy(torch.nn.ModuleDict(self._head_modules(model)))
                for language in languages[1:]
            }
        )

    @property
    def config(self) -> PreTrainedConfig:
        """The transformers configuration, the same for all languages."""
        return self.model.config

    def of(self, language: str) -> PreTrainedModel:
        """Return the transformers model of one language; it shares its tensors with this one.

        Raises:
            ModelError: The language has no head.
        """
        if language not in self.languages:
            message = (
                f"{self.config.name_or_path or type(self.model).__name__}: has no projection for "
                f"{language!r}, only for {list(self.languages)}; leave its examples out, or train "
                "one by student.projection_sources"
            )
            raise ModelError(message)
        if language == self.languages[0]:
            return self.model
        return _with_head(self.model, self.heads[_key(language)], self._head_paths)

    def head_of(self, language: str) -> torch.nn.ModuleDict:
        """Return the modules of one language's head.

        Raises:
            ModelError: The language has no head.
        """
        return torch.nn.ModuleDict(self._head_modules(self.of(language)))

    def head_tensors(self) -> dict[str, torch.Tensor]:
        """Return the heads of all languages but the first, named ``sw/classifier.weight``.

        What follows the language is the name that the tensor has in a model of transformers.
        """
        return {
            f"{language}/{path}{name.removeprefix(last)}": tensor.detach()
            for language in self.languages[1:]
            for path, last in self._head_paths.items()
            for name, tensor in self.heads[_key(language)].state_dict(keep_vars=True).items()
            if name.startswith(f"{last}.")
        }

    def _head_modules(self, model: PreTrainedModel) -> dict[str, torch.nn.Module]:
        return {last: model.get_submodule(path) for path, last in self._head_paths.items()}


TaskModel: TypeAlias = PreTrainedModel | PerLanguageModel
"""A model of transformers with the head of a task, or with one for every language."""


def single_language_model(model: PerLanguageModel, language: str) -> PreTrainedModel:
    """Return a plain transformers model for one language, with tensors of its own.

    Its scores are bit by bit those that the shared model gives for the language.

    Raises:
        ModelError: The language has no head.
    """
    return copy.deepcopy(model.of(language))


def with_languages(
    model: PerLanguageModel, languages: Sequence[str], *, sources: Mapping[str, str]
) -> PerLanguageModel:
    """Return the model with heads for more languages; encoder and old heads are shared with it.

    Args:
        model: Stays as it is.
        languages: To be served; those that are served already change nothing.
        sources: Language to the language whose head its own starts as a copy of.

    Raises:
        ModelError: A language has neither a head nor a source that has one.
    """
    missing = [language for language in languages if language not in model.languages]
    grown = PerLanguageModel(model.model, (*model.languages, *missing))
    for language in model.languages[1:]:
        grown.heads[_key(language)] = model.heads[_key(language)]
    for language in missing:
        if language not in sources:
            message = (
                f"student.projection_sources: {language!r} has no projection yet; name the "
                f"language among {list(model.languages)} whose projection it starts from"
            )
            raise ModelError(message)
        grown.heads[_key(language)] = copy.deepcopy(model.head_of(sources[language]))
    return grown


def per_language_scores(
    model: PerLanguageModel,
    head: Head,
    hidden_PD: torch.Tensor,
    *,
    languages_P: torch.Tensor,
    names: tuple[str, ...],
) -> DenseScores:
    """Return the scores of each position by the head of its language, [P, K].

    They are all in memory, those of a vocabulary too. Each position costs one head, however many
    there are. Heads without a position are applied to none, so that they have a gradient, of
    zeros: data parallelism waits for all.

    Args:
        model: Encoder and heads.
        head: How the family scores positions.
        hidden_PD: Last hidden states.
        languages_P: Index into the names of each position's language; on the CPU, for the sizes
            of the parts are read from it.
        names: All languages of the data, whether or not there is a head.

    Raises:
        ModelError: A position is of a language without a head.
    """
    order_P = languages_P.argsort(stable=True)
    counts = torch.bincount(languages_P, minlength=len(names)).tolist()
    others = [language for language in model.languages if language not in names]
    pieces = hidden_PD[to_device(order_P, hidden_PD.device)].split([*counts, *(0 for _ in others)])
    scores = [
        head(model.of(language), hidden_QD).logits()
        for language, hidden_QD in zip((*names, *others), pieces, strict=True)
        if len(hidden_QD) or language in model.languages
    ]
    # The argsort of a permutation is its inverse: back to the order of the positions.
    places_P = to_device(order_P.argsort(), hidden_PD.device)
    return DenseScores(logits_PK=torch.cat(scores)[places_P])


def _key(language: str) -> str:
    """Return the name of a language among modules: no attribute, such as ``to``, and no dot."""
    return "of_" + language.replace(".", "%2E")


def _head_paths(model: PreTrainedModel) -> dict[str, str]:
    """Return where the modules of a model's head are, and the last part of each path."""
    backbone = family_of(model.config.model_type, where=type(model).__name__).backbone
    names = [place.name for place in places_of(model).values() if place.part == "head"]
    depths = [2 if name.startswith(f"{backbone}.") else 1 for name in names]
    parts = [name.split(".")[:depth] for name, depth in zip(names, depths, strict=True)]
    return {".".join(path): path[-1] for path in parts}


def _with_head(
    model: PreTrainedModel, head: torch.nn.Module, paths: Mapping[str, str]
) -> PreTrainedModel:
    """Return a model that shares every module with another but those of the head."""
    view: PreTrainedModel = _shallow(model)
    for path, last in paths.items():
        owner = view
        for name in path.split(".")[:-1]:
            setattr(owner, name, _shallow(getattr(owner, name)))
            owner = getattr(owner, name)
        setattr(owner, last, head.get_submodule(last))
    return view


def _shallow(module: torch.nn.Module) -> torch.nn.Module:
    view = copy.copy(module)
    # copy.copy shares the dictionary of submodules: a new one lets a single one be replaced.
    view.__dict__["_modules"] = dict(view.__dict__["_modules"])
    return view
