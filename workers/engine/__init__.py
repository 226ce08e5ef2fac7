"""The science of PromptLab: one frozen backbone, many approaches, one scoring path. Imports nothing, so that naming it costs nothing.

It knows no Django, no Celery, no database and no settings; a run goes in as a `RunSpec` and comes out as a `RunResult`.

Letters in shapes: B rows of a batch, T tokens of a row, P virtual tokens or shared prefix positions, H hidden width,
V vocabulary, C labels. A sum over "answer positions" A counts places where a token of an answer is predicted.

Four layers, each of which imports only those below it (the import law in `pyproject.toml` names every module):

    What runs and serves: `execute`, `host`, `serving`, `latency` and the command line.
    Approaches: a written, tuned, searched or taught prompt, from its frame to its scores and files.
    The model: loading it, finding its parts, and the passes that everything above goes through.
    What is asked and answered: specs, rows, candidates, outcomes, figures. No model; much of it standard library only.

Reading order:
    execute     one run, from spec to result: start here; `run` is the run on its way
    spec        what a run is asked (RunSpec); outcome: what it says (RunResult); standard library only
    errors      the few ways a run can end badly, each with a sentence for a person
    rows        reads the JSONL data of a run
    runtime     seed, device, dtype, threads, clocks, memory
    backbone    loads one frozen model with its tokenizer and proves it unchanged; families says beforehand what may run
    answers     label words -> token ids -> one trie for all labels
    batching    length buckets, padding, positions, masks
    prefix      states of what all rows begin with, computed once; model_probe and probe find out whether they may be
    forward     the two passes over a batch: with a shared prefix, and plain
    approach    an approach ready to answer rows; written makes those that train nothing
    frame       template, chat template, demonstrations, row and answer cue -> token ids
    tuning      the tuned methods: one table, their options, their start values
    learning    rows and a tuned part brought to training, the one loop; checkpoints keeps its state on disk
    sweep       several configurations, the best kept; together trains them in one pass; grid and halving say which and how long
    search      better prompts by rule, among candidates; dspy_search by DSPy, on an optimising_bench
    teaching    a teacher's answers as a student's labels
    scoring     the one scoring path; generation writes free text; latency times single requests (asked by latency_spec)
    chain       a prompt of two steps: the answer reads what the model wrote about the row before
    serving     many prompts on one model: served (one prompt), mixed (the pass), row_adapters (LoRA and IA3 per row), shelf, requests
    metrics     figures from predictions; pure
    baselines   majority, label overlap, TF-IDF, linear probe
    explaining  what a soft prompt has learned; forgetting: what the model still knows of ordinary text
    artifacts   folders of tuned prompts and adapters: PEFT's own files plus a manifest
    host        a warm process that executes runs one after another; __main__ is the command line
"""
