"""What counting alone achieves: the marks that a trained network has to beat.

Both predictors are estimated on the training split. The token before the first one of a split is taken
to be the end of a line, as the language model's own first input is.
"""

import math

import numpy as np

from lstm_jax.corpora.corpus import Corpus

__all__ = ["baselines", "bigram_nats", "unigram_nats"]


def _log(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # a token without training count is infinitely surprising
        return np.log(probabilities)


def unigram_nats(corpus: Corpus, split: str) -> float:
    """Mean nats a token of `split` under maximum likelihood: p(w) = count(w) / N in training."""
    counts = np.bincount(corpus.tokens["train"], minlength=len(corpus.vocabulary))
    return float(-_log(counts / counts.sum())[corpus.tokens[split]].mean())


def bigram_nats(corpus: Corpus) -> tuple[dict[str, float], float]:
    """Mean nats a token of valid and test under a bigram interpolated with the unigram, and its weight.

    p(w | v) = a * count(v, w) / count(v) + (1 - a) * count(w) / N (Jelinek & Mercer 1980), with one
    weight a for all contexts, chosen on the validation split: its likelihood is concave in a, so that
    bisection of the derivative finds the optimum. After a v that nothing follows in training, the
    unigram alone speaks.

    Returns:
      (split -> nats, a).
    """
    size, eos = len(corpus.vocabulary), corpus.vocabulary.eos
    before = {s: np.concatenate([[eos], tokens[:-1]]).astype(np.int64) for s, tokens in corpus.tokens.items()}
    pairs = {s: before[s] * size + tokens for s, tokens in corpus.tokens.items()}
    words = np.bincount(corpus.tokens["train"], minlength=size)
    contexts = np.bincount(before["train"], minlength=size)
    if size * size <= 1 << 22:  # few enough pairs (characters) to count them in place instead of sorting
        sums = np.bincount(pairs["train"], minlength=size * size)
        seen = np.flatnonzero(sums)
        sums = sums[seen]
    else:
        seen, sums = np.unique(pairs["train"], return_counts=True)

    def parts(split: str) -> tuple[np.ndarray, np.ndarray]:
        place = np.minimum(np.searchsorted(seen, pairs[split]), len(seen) - 1)
        joint = np.where(seen[place] == pairs[split], sums[place], 0)
        context = contexts[before[split]]
        unigram = words[corpus.tokens[split]] / words.sum()
        return np.where(context > 0, joint / np.maximum(context, 1), unigram), unigram

    bigram, unigram = parts("valid")
    possible = unigram > 0  # a token without training count is infinitely surprising at every weight
    gain, base = (bigram - unigram)[possible], unigram[possible]
    low, high = 0.0, 1.0
    for _ in range(24):
        weight = (low + high) / 2
        if np.mean(gain / (base + weight * gain)) > 0:
            low = weight
        else:
            high = weight
    nats = {}
    for split in ("valid", "test"):
        bigram, unigram = parts(split)
        nats[split] = float(-_log(weight * bigram + (1 - weight) * unigram).mean())
    return nats, weight


def baselines(corpus: Corpus) -> dict[str, float]:
    """Perplexities of uniform, unigram and bigram predictors on valid and test, by name."""
    figures = {"uniform_perplexity": float(len(corpus.vocabulary))}
    bigram, weight = bigram_nats(corpus)
    for split in ("valid", "test"):
        figures[f"{split}_unigram_perplexity"] = math.exp(unigram_nats(corpus, split))
        figures[f"{split}_bigram_perplexity"] = math.exp(bigram[split])
    return {**figures, "bigram_weight": weight}
