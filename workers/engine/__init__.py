"""The science of PromptLab: one frozen backbone, many approaches, one scoring path. Imports nothing, so that naming it costs nothing.

It knows no Django, no Celery, no database and no settings; a run goes in as a `RunSpec` and comes out as a `RunResult`.

Letters in shapes: B rows of a batch, T tokens of a row, P virtual tokens or shared prefix positions, H hidden width,
V vocabulary, C labels. A sum over "answer positions" A counts places where a token of an answer is predicted.

Reading order:
    spec        what a run is asked (RunSpec) and what it says (RunResult); standard library only
    errors      the few ways a run can end badly, each with a sentence for a person
    execute     one run, from spec to result: start here
    rows        reads the JSONL data of a run
    runtime     seed, device, dtype, threads, clocks, memory
    backbone    loads one frozen model with its tokenizer and proves it unchanged
    frame       template, chat template, demonstrations, row and answer cue -> token ids
    answers     label words -> token ids -> one trie for all labels
    batching    length buckets, padding, positions, masks
    prefix      states of what all rows begin with, computed once, and the probe that allows it
    forward     the two passes over a batch: with a shared prefix, and plain
    tuning      the tuned methods: one table, their options, their start values
    training    the one training loop; checkpoints keeps its state on disk
    scoring     the one scoring path; generation writes free text; latency times single requests (asked by latency_spec)
    chain       a prompt of two steps: the answer reads what the model wrote about the row before
    serving     many prompts on one model: served (one prompt), mixed (the pass), row_adapters (LoRA and IA3 per row), shelf, requests
    metrics     figures from predictions; pure
    baselines   majority, label overlap, TF-IDF, linear probe
    artifacts   folders of tuned prompts and adapters: PEFT's own files plus a manifest
    host        a warm process that executes runs one after another; __main__ is the command line
"""
