"""Loads one frozen language model with its tokenizer and can prove it unchanged. Knows no prompts and no data.

Only safetensors are read and no code that comes with a model is run.
"""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from workers.engine.contract.spec import BackboneRef
from workers.engine.errors import BadSpec, MissingModel, Unsupported
from workers.engine.model.encoded import EncodedBefore
from workers.engine.model.families import refuse_unrunnable, sliding_of, window_of
from workers.engine.model.model_probe import sharing_reason
from workers.engine.model.placement import gather_states, loading_arguments
from workers.engine.model.runtime import choose_device, choose_dtype


@dataclass
class Backbone:
    """A frozen model, ready to run.

    Args:
        start_ids: ids that the tokenizer puts before any text, often one BOS or [CLS], sometimes none.
        terminator_id: id that ends every answer, in training and in scoring.
        window: longest sequence the model can hold, virtual tokens and answer included.
        sliding: how many tokens back a layer looks, None when all of them.
        weights_hash: the fingerprint when loaded.
        encoded: what the tokenizer has read lately.
    """

    ref: BackboneRef
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    window: int
    start_ids: tuple[int, ...]
    terminator_id: int
    facts: dict[str, Any] = field(default_factory=dict)
    weights_hash: str = ""
    sliding: int | None = None
    encoded: EncodedBefore = field(default_factory=EncodedBefore)

    @property
    def is_encoder_decoder(self) -> bool:
        """True for T5 and its kin: the encoder reads the row, the decoder writes the answer."""
        return bool(self.model.config.is_encoder_decoder)

    @cached_property
    def plain_reason(self) -> str | None:
        """Why rows never share a prefix on this model, or None when they may: asked of the model once."""
        return sharing_reason(self.model, self.terminator_id)

    def fingerprint(self) -> str:
        """Short hash of what must stay the same between runs: weights, module classes, dtype, threads.

        Weights are sampled, not read whole: enough to notice any update of any matrix, cheap enough for every job.
        """
        digest = hashlib.sha256()
        for name, module in self.model.named_modules():
            digest.update(f"{name}:{type(module).__qualname__}:{module.training}:{len(module._forward_hooks)}".encode())
        for name, parameter in self.model.named_parameters():
            digest.update(f"{name}:{parameter.dtype}:{tuple(parameter.shape)}:{parameter.requires_grad}".encode())
            if parameter.is_meta:  # lies in the machine's memory and comes to its GPU when its layer runs
                continue
            flat = parameter.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // 1024)].float()
            digest.update(torch.stack([sample.sum(), sample.abs().sum(), (sample * sample).sum()]).cpu().numpy().tobytes())
        digest.update(f"{self.dtype}:{torch.get_num_threads()}:{torch.is_grad_enabled()}".encode())
        return digest.hexdigest()[:32]

    def public_facts(self) -> dict[str, Any]:
        """What a person may want to know before choosing this model."""
        return {
            "window": self.window,
            "plain_reason": self.plain_reason,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
            "has_chat_template": bool(getattr(self.tokenizer, "chat_template", None)),
            "start_ids": list(self.start_ids),
            "terminator_id": self.terminator_id,
            "embedding_rms": self.embedding_rms(),
        }

    def parameter_count(self) -> int:
        """Weights of the frozen model, shared ones counted once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def embedding_rms(self) -> float:
        """Typical size of one embedding coordinate; learning rates of soft prompts are multiples of it."""
        weight = self.model.get_input_embeddings().weight.detach()
        return float(weight.float().pow(2).mean().sqrt())


def load_backbone(ref: BackboneRef) -> Backbone:
    """Load a frozen model from a local folder or a pinned Hub commit.

    Raises:
        MissingModel: nothing usable lies there.
        BadSpec: a Hub id without a full commit, or a format that this machine cannot hold.
        OutOfMemory: no place holds the weights.
        Unsupported: the model is of a family that this engine cannot run.
    """
    where = _where(ref)
    device = choose_device(ref.device)
    dtype = choose_dtype(ref.dtype, device)
    config = _load_config(ref, where)
    refuse_unrunnable(ref.source, config)
    placed = loading_arguments(ref.dtype, config, dtype, device)
    model = _load_model(ref, {**where, **placed}, config, dtype)
    model = model if placed else model.to(device)
    tokenizer = _load_tokenizer(ref, where)
    return assemble_backbone(ref, model, tokenizer)


def assemble_backbone(ref: BackboneRef, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Backbone:
    """A Backbone around a model and tokenizer that are already in memory.

    Raises:
        Unsupported: the tokenizer has no token that can end an answer.
    """
    model.eval().requires_grad_(False)
    gather_states(model)
    terminator = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if terminator is None:
        raise Unsupported(f"The tokenizer of {ref.source} has no end token, so answers cannot be ended. Choose another model.")
    backbone = Backbone(
        ref=ref,
        model=model,
        tokenizer=tokenizer,
        device=model.device,
        dtype=model.dtype,
        window=window_of(model.config),
        sliding=sliding_of(model.config),
        start_ids=_start_ids(tokenizer),
        terminator_id=int(terminator),
        facts=_facts(ref, model),
    )
    backbone.weights_hash = backbone.fingerprint()
    return backbone


def _where(ref: BackboneRef) -> dict[str, Any]:
    """Arguments that pin the source; a local folder needs none beyond its path."""
    if Path(ref.source).is_dir():
        folder = Path(ref.source)
        if not (folder / "config.json").is_file():
            raise MissingModel(f"The folder {ref.source} holds no model: config.json is missing.")
        if not list(folder.glob("*.safetensors")):
            raise MissingModel(f"The model in {ref.source} has no safetensors weights. Convert it: other formats can run code when read.")
        return {"local_files_only": True}
    if ref.source.startswith((".", "/", "~")) or "\\" in ref.source or ref.source.count("/") != 1:
        raise MissingModel(f"There is no model folder {ref.source}. Check the path.")
    if ref.revision is None:
        raise BadSpec(f"The Hub model {ref.source} needs a revision: the full commit of 40 characters, so that it cannot move.")
    return {"revision": ref.revision}


def _load_config(ref: BackboneRef, where: dict[str, Any]) -> PretrainedConfig:
    try:
        plain, _ = PretrainedConfig.get_config_dict(ref.source, **where)
        if plain.get("auto_map"):
            raise MissingModel(
                f"The model {ref.source} wants to run code of its own, which is never allowed here. Choose a model of a built-in family."
            )
        return AutoConfig.from_pretrained(ref.source, trust_remote_code=False, **where)
    except ValueError as error:
        raise MissingModel(f"The configuration of {ref.source} cannot be used: {_first_line(error)}") from error
    except OSError as error:
        raise MissingModel(f"The model {ref.source} cannot be loaded: {_first_line(error)}") from error


def _load_model(ref: BackboneRef, where: dict[str, Any], config: PretrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    try:
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, report = kind.from_pretrained(
            ref.source,
            config=config,
            dtype=dtype,
            attn_implementation=ref.attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **where,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise MissingModel(f"The model {ref.source} cannot be loaded: {_first_line(error)}") from error
    if report["missing_keys"]:
        name = sorted(report["missing_keys"])[0]
        raise MissingModel(f"The weights of {ref.source} lack {len(report['missing_keys'])} parts of its model, {name} among them.")
    loaded: PreTrainedModel = model
    return loaded


def _load_tokenizer(ref: BackboneRef, where: dict[str, Any]) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(ref.source, trust_remote_code=False, **where)
    except (OSError, ValueError, KeyError) as error:
        raise MissingModel(f"The tokenizer of {ref.source} cannot be loaded: {_first_line(error)}") from error
    if len(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)) < 2:
        # Where its files are missing, transformers makes one that knows no word, and every text would read as nothing.
        raise MissingModel(f"The tokenizer of {ref.source} knows no words: its files are missing. Put them beside the weights.")
    return tokenizer


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _start_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Special ids that the tokenizer itself puts before a text. Made explicit here, never left to a default."""
    special = set(tokenizer.all_special_ids)
    start = []
    for token in tokenizer("a", add_special_tokens=True)["input_ids"]:
        if token not in special:
            break
        start.append(token)
    return tuple(start)


def _facts(ref: BackboneRef, model: PreTrainedModel) -> dict[str, Any]:
    config = model.config
    folder = Path(ref.source)
    return {
        "source": ref.source if not folder.is_dir() else folder.name,
        "revision": ref.revision,
        "family": config.model_type,
        "hidden_size": config.hidden_size,
        "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "files": _file_fingerprint(folder) if folder.is_dir() else ref.revision,
    }


def _file_fingerprint(folder: Path) -> str:
    """Name, size and time of every file of a model folder: tells a replaced model from the loaded one."""
    entries = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir()) if path.is_file()]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:32]


def source_key(ref: BackboneRef) -> tuple[str, ...]:
    """What must be equal for a loaded model to serve another run."""
    folder = Path(ref.source)
    files = _file_fingerprint(folder) if folder.is_dir() else ""
    return (ref.source, ref.revision or "", ref.dtype, ref.device, ref.attention, files)
