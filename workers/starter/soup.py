"""The mean of the weights of several training runs, which often generalises better than one of them (Wortsman et al. 2022, "Model soups").

    python -m workers.starter.soup DIR DIR ... --out DIR

Only runs that went out from the same weights lie near enough to each other for their mean to be a model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import BertLMHeadModel, PreTrainedTokenizerFast

from workers.starter import backbone


def mean_weights(models: Sequence[BertLMHeadModel]) -> dict[str, Tensor]:
    """By parameter name, in fp32."""
    parts = [dict(model.named_parameters()) for model in models]
    return {name: torch.stack([part[name].detach().float() for part in parts]).mean(0) for name in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="results of train.py")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    models = [BertLMHeadModel.from_pretrained(folder, dtype=torch.float32) for folder in given.folders]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(given.folders[0])
    backbone.save(given.out, models[0], tokenizer, mean_weights(models))


if __name__ == "__main__":
    main()
