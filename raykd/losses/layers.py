"""How far the student's layers are from the teacher's, at each token.

Every function takes the student's tensor first, lets no gradient into the teacher and returns
one non-negative value per token, padding left out, in the order of the rows; zero where the
models agree. Computed in float32 (float64 for float64 tensors).

What attends is given by one mask beside that of the tokens: sees_BLL [B, L (query), L (key)]
is true where a query may attend to a key. It is false at every key that is padding, and every
token sees at least one, usually itself.
"""

import torch
from torch.nn import functional as F

from raykd.losses.divergences import require_one_shape
from raykd.losses.softened import widened


def hidden_mse(student_TD: torch.Tensor, teacher_TD: torch.Tensor) -> torch.Tensor:
    """Return the squared difference of hidden states, averaged over the width, per token.

    The hidden-state loss of TinyBERT (Jiao et al., 2020, section 3.1); where the widths differ
    the caller projects the student's.

    Returns:
        Shape [T].

    Raises:
        ValueError: The two differ in shape.
    """
    require_one_shape(student_TD, teacher_TD)
    return (widened(student_TD) - widened(teacher_TD.detach())).square().mean(dim=-1)


def hidden_cosine(student_TD: torch.Tensor, teacher_TD: torch.Tensor) -> torch.Tensor:
    """Return 1 minus the cosine of the angle between hidden states, per token.

    The alignment loss of DistilBERT (Sanh et al., 2019, section 2). Computed as half the squared
    distance of the unit vectors, which is the same number without its rounding error near 0. A
    vector of zeros is one half away from all others.

    Returns:
        From 0 to 2, shape [T].

    Raises:
        ValueError: The two differ in shape.
    """
    require_one_shape(student_TD, teacher_TD)
    student_unit_TD = F.normalize(widened(student_TD), dim=-1)
    teacher_unit_TD = F.normalize(widened(teacher_TD.detach()), dim=-1)
    return (student_unit_TD - teacher_unit_TD).square().sum(dim=-1) / 2


def attention_scores(
    query_BHLE: torch.Tensor, key_BGLE: torch.Tensor, *, scaling: float
) -> torch.Tensor:
    """Return the attention scores before mask and softmax, shape [B, H, L (query), L (key)].

    Args:
        query_BHLE: Queries; finite in padded places too, as their gradient passes through there.
        key_BGLE: Keys, each head of which serves H / G neighbouring heads of queries.
        scaling: Multiplies the products of queries and keys.

    Raises:
        ValueError: The number of key heads does not divide that of query heads.
    """
    num_heads, num_key_heads = query_BHLE.shape[1], key_BGLE.shape[1]
    if num_heads % num_key_heads:
        message = f"{num_heads} heads of queries cannot share {num_key_heads} heads of keys evenly"
        raise ValueError(message)
    key_BHLE = widened(key_BGLE).repeat_interleave(num_heads // num_key_heads, dim=1)
    scores_BHLL: torch.Tensor = widened(query_BHLE) @ key_BHLE.mT * scaling
    return scores_BHLL


def attention_mse(
    student_scores_BHLL: torch.Tensor,
    teacher_scores_BHLL: torch.Tensor,
    *,
    sees_BLL: torch.Tensor,
    is_token_BL: torch.Tensor,
) -> torch.Tensor:
    """Return the squared difference of attention scores before the softmax, per query token.

    The attention loss of TinyBERT (Jiao et al., 2020, section 3.1), averaged over the heads and,
    a choice of ours, over the keys that the query sees: the paper's code counts padding too.

    Args:
        student_scores_BHLL: Scores of the model that learns, unmasked.
        teacher_scores_BHLL: Scores to imitate, unmasked, with as many heads.
        sees_BLL: Which keys each query sees.
        is_token_BL: False for padding.

    Returns:
        Shape [T].

    Raises:
        ValueError: The scores differ in shape.
    """
    require_one_shape(student_scores_BHLL, teacher_scores_BHLL)
    student_THL = _of_tokens(widened(student_scores_BHLL), is_token_BL)
    teacher_THL = _of_tokens(widened(teacher_scores_BHLL.detach()), is_token_BL)
    sees_T1L = sees_BLL[is_token_BL][:, None]
    # Masked before the square, so that the gradient of unseen scores is exactly zero.
    squares_THL = (student_THL - teacher_THL).where(sees_T1L, 0.0).square()
    return (squares_THL.sum(dim=-1) / sees_T1L.sum(dim=-1)).mean(dim=-1)


def relation_kl(
    student_BLD: torch.Tensor,
    teacher_BLD: torch.Tensor,
    *,
    num_heads: int,
    sees_BLL: torch.Tensor,
    is_token_BL: torch.Tensor,
) -> torch.Tensor:
    """Return KL(teacher || student) of how each token relates to those that it sees.

    The self-attention relation of MiniLMv2 (Wang et al., 2021, section 3.1): queries, keys or
    values of one layer are split into relation heads of width E = D / num_heads, and a token's
    relation is the softmax over tokens of the scaled products x_i . x_j / sqrt(E). Averaged over
    the heads.

    Args:
        student_BLD: Queries, keys or values of the model that learns, all heads side by side.
        teacher_BLD: Those to imitate; their width may differ.
        num_heads: Relation heads, whatever the heads of the models.
        sees_BLL: Which tokens each token sees.
        is_token_BL: False for padding, whose places may hold anything, NaN included.

    Returns:
        Nats, shape [T].

    Raises:
        ValueError: The number of relation heads does not divide a width.
    """
    sees_T1L = sees_BLL[is_token_BL][:, None]

    def log_relations(states_BLD: torch.Tensor) -> torch.Tensor:
        scores_THL = _of_tokens(_relation_scores(states_BLD, num_heads, is_token_BL), is_token_BL)
        return F.log_softmax(scores_THL.masked_fill(~sees_T1L, -torch.inf), dim=-1)

    return kl(log_relations(teacher_BLD.detach()), log_relations(student_BLD)).mean(dim=-1)


def kl(log_p_PK: torch.Tensor, log_q_PK: torch.Tensor) -> torch.Tensor:
    """Return KL(p || q), the sum over classes of p (log p - log q).

    A class that p rules out contributes nothing. One that only q rules out makes the value
    infinite; the gradient into q stays finite, that into p does not.

    Args:
        log_p_PK: Log probabilities that the mean is taken over.
        log_q_PK: Log probabilities compared with them.

    Returns:
        Nats, the shape without its last dimension: exactly zero where both are equal, never
        negative.
    """
    p_PK = log_p_PK.exp()
    # Chosen before the product, whose gradient at 0 * inf is NaN, and stays NaN behind a where
    # (pytorch issue 108618).
    log_ratio_PK = (log_p_PK - log_q_PK).where(p_PK > 0, 0.0)
    kl_P = (p_PK * log_ratio_PK).sum(dim=-1)
    # Rounding can take the sum below zero where both nearly agree: lift the value only, because
    # clamping would stop the gradient there.
    return torch.where(kl_P < 0, kl_P - kl_P.detach(), kl_P)


def _relation_scores(
    states_BLD: torch.Tensor, num_heads: int, is_token_BL: torch.Tensor
) -> torch.Tensor:
    """Return the scaled products of each token's heads with those of all tokens, [B, H, L, L]."""
    width = states_BLD.shape[-1]
    if width % num_heads:
        message = f"{num_heads} relation heads do not divide the width {width}"
        raise ValueError(message)
    # NaN in padding would reach the gradient of tokens through the product, masked or not.
    clean_BLD = states_BLD.where(is_token_BL[..., None], 0.0)
    heads_BHLE = clean_BLD.unflatten(-1, (num_heads, -1)).transpose(1, 2)
    return attention_scores(heads_BHLE, heads_BHLE, scaling=(width // num_heads) ** -0.5)


def _of_tokens(scores_BHLL: torch.Tensor, is_token_BL: torch.Tensor) -> torch.Tensor:
    """Return the rows of the queries that are no padding, [T, H, L (key)]."""
    return scores_BHLL.transpose(1, 2)[is_token_BL]
