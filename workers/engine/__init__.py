"""The science of PromptLab: one frozen backbone, many approaches, one scoring path. Imports nothing, so that naming it costs nothing.

It knows no Django, no Celery, no database and no settings; a run goes in as a `RunSpec` and comes out as a `RunResult`.

Letters in shapes: B rows of a batch, T tokens of a row, P virtual tokens or shared prefix positions, H hidden width,
V vocabulary, C labels. A sum over "answer positions" A counts places where a token of an answer is predicted.

The rooms, from the door down; each uses only what stands below it (pyproject.toml holds them to it):
    execute     one run, from spec to result: start here
    host        a warm process that executes runs one after another; __main__ is the command line
    latency     times single requests of approaches that exist
    building    makes the approach that a run asks for
    approach    an approach ready to answer rows; `written` finds the words of those that train nothing
    serving/    many prompts on one model, for whoever serves answers (`answerer`)
    training/   the one training loop and what it is held to; sweeps, teachers, checkpoints
    search/     searches for a better written prompt, by rule or by DSPy
    methods/    the tuned methods: their options, start values and folders
    answering/  the one scoring path; free text; the probe that allows a shared prefix
    prompts/    template, chat template, demonstrations, row and answer cue -> token ids
    baselines   majority, label overlap, TF-IDF, linear probe
    run, rows, journal   a run on its way, the rows it reads, what it tried
    model/      one frozen model with its tokenizer, and the machine under it
    passes/     label trie, length buckets, shared prefixes, and the two passes over a batch
    figures/    metrics and other arithmetic on answers
    contract/   what a run is asked (RunSpec) and what it says (RunResult); standard library only
    errors      the few ways a run can end badly, each with a sentence for a person
"""
