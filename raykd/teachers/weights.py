"""How much each of several teachers counts: pure functions of tensors.

Beside the dimension key of raykd.batch, N is teachers. Every way of weighting returns weights
that sum to 1 over the teachers, or are all 0 in a column where no teacher counts. The columns
are scored positions, P, or languages, G, where the values are means over a language.

The ways are those of AMTSS (Chen et al., arXiv 2305.07928) as this project reconstructs them:
the paper names importance weights and max-margin teachers, its equations are not public.
"""

import torch


def margins(logits_PK: torch.Tensor, labels_P: torch.Tensor) -> torch.Tensor:
    """Return p(label) - max p(another class) at each position, in float32, shape [P].

    It lies between -1 and 1 and is negative where the teacher votes for a wrong class (our
    reconstruction of the margin of AMTSS).

    Args:
        logits_PK: Unnormalised scores of one teacher.
        labels_P: What is right at each position.
    """
    logits_PK = logits_PK.float()
    labels_P1 = labels_P.unsqueeze(-1)
    normalizer_P = logits_PK.logsumexp(dim=-1)
    label_P = logits_PK.gather(-1, labels_P1).squeeze(-1)
    other_P = logits_PK.scatter(-1, labels_P1, -torch.inf).amax(dim=-1)
    margins_P: torch.Tensor = (label_P - normalizer_P).exp() - (other_P - normalizer_P).exp()
    return margins_P


def entropies(logits_PK: torch.Tensor) -> torch.Tensor:
    """Return the entropy of what a teacher predicts, in nats and float32, shape [P]."""
    # entr(0) is 0, where p * log p would be NaN.
    entropies_P: torch.Tensor = torch.special.entr(logits_PK.float().softmax(dim=-1)).sum(dim=-1)
    return entropies_P


def importance(
    margins_NP: torch.Tensor, is_asked_NP: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return softmax(margin / temperature) over the teachers that are asked and not wrong.

    A teacher with a negative margin votes for a wrong class and counts nothing; the limit of
    temperature 0 is ``max_margin``, but that teachers with the same margin share (our
    reconstruction of AMTSS).

    Args:
        margins_NP: Of each teacher at each position; anything where it is not asked.
        is_asked_NP: True where a teacher is asked.
        temperature: Divides the margins; lower favours the best teacher.
    """
    return _softmax(margins_NP, is_asked_NP & (margins_NP >= 0), temperature=temperature)


def max_margin(margins_NP: torch.Tensor, is_asked_NP: torch.Tensor) -> torch.Tensor:
    """Return 1 for the teacher with the largest margin, if it is not negative, and 0 else.

    The first of several with the same margin counts (the max-margin teacher of AMTSS).

    Args:
        margins_NP: Of each teacher at each position; anything where it is not asked.
        is_asked_NP: True where a teacher is asked.
    """
    counts_NP = is_asked_NP & (margins_NP >= 0)
    # Where no teacher counts argmax is 0; the last line takes that back.
    best_1P = margins_NP.masked_fill(~counts_NP, -torch.inf).argmax(dim=0, keepdim=True)
    chosen_NP = torch.zeros_like(margins_NP).scatter_(0, best_1P, 1.0)
    return torch.where(counts_NP, chosen_NP, 0.0)


def entropy_weights(
    entropies_NP: torch.Tensor, is_asked_NP: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Return softmax(-entropy / temperature) over the teachers that are asked (ours).

    The label is not looked at: a teacher that is sure counts, whether it is right or wrong.

    Args:
        entropies_NP: Of each teacher at each position, in nats; anything where it is not asked.
        is_asked_NP: True where a teacher is asked.
        temperature: Divides the entropies; lower favours the surest teacher.
    """
    return _softmax(-entropies_NP, is_asked_NP, temperature=temperature)


def table_weights(weights_NG: torch.Tensor, serves_NG: torch.Tensor) -> torch.Tensor:
    """Return given weights, brought to the sum of 1 over the teachers that serve a language.

    Args:
        weights_NG: Of each teacher in each language, not negative.
        serves_NG: True where a teacher serves a language.
    """
    served_NG = torch.where(serves_NG, weights_NG, 0.0)
    totals_G = served_NG.sum(dim=0)
    return served_NG / torch.where(totals_G > 0, totals_G, 1.0)


def _softmax(
    scores_NP: torch.Tensor, counts_NP: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    scores_NP = scores_NP.masked_fill(~counts_NP, -torch.inf)
    # The best is subtracted before the division: a low temperature does not overflow.
    weights_NP = ((scores_NP - scores_NP.amax(dim=0)) / temperature).softmax(dim=0)
    # Up to here a column in which no teacher counts is NaN.
    return torch.where(counts_NP, weights_NP, 0.0)
