"""Shared-prefix packing: rows laid out as a trie, so that every distinct prefix is computed once.

A group's rollouts share their prompt, and often more. Each trie node is one token; a node attends to its ancestors
(`trainer.attention`), its position is its depth, and a trained token takes its logprob from its parent's hidden state.
The result equals separate rows; only the work differs (872 tokens are computed instead of 3,680 for a group of
8 × (400 + 60)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor
from transformers import PreTrainedModel

from trainer.along_paths import Branch
from trainer.attention import branch_of
from trainer.flex import path_mask
from trainer.head import score_tokens
from trainer.rows import TrainingRow
from trainer.settings import Attention

# Rows that share less than this with their neighbour are computed apart: what a pass computes it also holds.
_WORTH_SHARING = 0.25


@dataclass(frozen=True)
class Pack:
    """Rows as one trie. `nodes` distinct tokens, `trained` (row, token) pairs to be scored."""

    rows: tuple[TrainingRow, ...]
    token_ids: Tensor  # int64 (nodes,)
    positions: Tensor  # int64 (nodes,): depth in the trie
    branches: tuple[Branch, ...]  # what each row adds, in the order of the nodes
    ends: Tensor  # int64 (nodes,): the first node after each that does not descend from it
    source: Tensor  # int64 (trained,): node whose hidden state predicts the token
    target: Tensor  # int64 (trained,): the token
    behaviour: Tensor  # float32 (trained,), nats
    advantages: Tensor  # float32 (trained,)
    sequence: Tensor  # int64 (trained,): index into `rows`


@dataclass(frozen=True)
class Scores:
    """What the policy gives a pack's trained tokens."""

    logprobs: Tensor  # float32 (trained,), nats, with gradient
    entropy: Tensor  # float32 (trained,), nats, without gradient


def plan_packs(rows: Sequence[TrainingRow], max_pack_tokens: int) -> list[list[TrainingRow]]:
    """Which rows are computed together: neighbours in token order, while they share enough and the pack has room.

    A row longer than `max_pack_tokens` gets a pack of its own. Rows without trained tokens are left out.
    """
    packs: list[list[TrainingRow]] = []
    nodes = 0
    previous: tuple[int, ...] = ()
    for row in sorted((row for row in rows if any(row.trained)), key=lambda row: (row.token_ids, row.name)):
        inputs = _inputs(row)
        shared = _common_prefix(previous, inputs) if packs else 0
        new = len(inputs) - shared
        if packs and shared >= _WORTH_SHARING * len(inputs) and nodes + new <= max_pack_tokens:
            packs[-1].append(row)
            nodes += new
        else:
            packs.append([row])
            nodes = len(inputs)
        previous = inputs
    return packs


def pack_rows(rows: Sequence[TrainingRow], device: torch.device) -> Pack:
    """Lay rows, each with at least one trained token, out as one trie. Nodes are in depth-first order."""
    rows = sorted(rows, key=lambda row: (row.token_ids, row.name))
    token_ids: list[int] = []
    positions: list[int] = []
    paths: list[list[int]] = []
    branches: list[Branch] = []
    previous: tuple[int, ...] = ()
    for row in rows:
        inputs = _inputs(row)
        shared = _common_prefix(previous, inputs)
        # In token order, whatever a row shares with any earlier row it shares with the one just before it.
        path = [*(paths[-1][:shared] if paths else []), *range(len(token_ids), len(token_ids) + len(inputs) - shared)]
        token_ids += inputs[shared:]
        positions += range(shared, len(inputs))
        paths.append(path)
        if shared < len(path):  # else the row lies within the one before it
            branches.append(branch_of(path, shared))
        previous = inputs
    trained = [
        (paths[index][at - 1], row.token_ids[at], row.behaviour[at], row.advantage, index)
        for index, row in enumerate(rows)
        for at, learn in enumerate(row.trained)
        if learn
    ]
    source, target, behaviour, advantages, sequence = zip(*trained, strict=True)
    return Pack(
        rows=tuple(rows),
        token_ids=torch.tensor(token_ids, device=device),
        positions=torch.tensor(positions, device=device),
        branches=tuple(branches),
        ends=torch.tensor(_ends(paths, len(token_ids)), device=device),
        source=torch.tensor(source, device=device),
        target=torch.tensor(target, device=device),
        behaviour=torch.tensor(behaviour, dtype=torch.float32, device=device),
        advantages=torch.tensor(advantages, dtype=torch.float32, device=device),
        sequence=torch.tensor(sequence, device=device),
    )


def score(model: PreTrainedModel, pack: Pack, head_chunk_tokens: int, attention: Attention = "branches") -> Scores:
    """Logprobs and entropies of a pack's trained tokens under a causal language model (not a peft wrapper).

    The head runs on trained positions only, `head_chunk_tokens` at a time (`trainer.head`).
    """
    along = {"branches": pack.branches} if attention == "branches" else {"paths": path_mask(pack.ends)}
    hidden = model.get_decoder()(
        input_ids=pack.token_ids[None],
        attention_mask=torch.empty(1, 1, 0, 0),  # of this shape, so that transformers makes none: `along` says it all
        position_ids=pack.positions[None],
        use_cache=False,
        **along,
    ).last_hidden_state[0]  # (nodes, width)
    logprobs, entropy = score_tokens(model.get_output_embeddings(), hidden[pack.source], pack.target, head_chunk_tokens)
    return Scores(logprobs=logprobs, entropy=entropy)


def _inputs(row: TrainingRow) -> tuple[int, ...]:
    """The tokens that have to be computed: all before the last trained one."""
    last = max(at for at, learn in enumerate(row.trained) if learn)
    return row.token_ids[:last]


def _ends(paths: Sequence[Sequence[int]], nodes: int) -> list[int]:
    """Nodes are in depth-first order, so the last row through a node ends where its descendants do."""
    ends = [0] * nodes
    for path in paths:
        for node in path:
            ends[node] = max(ends[node], path[-1] + 1)
    return ends


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
