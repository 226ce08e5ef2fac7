"""Token ids through a model: labels as a trie, padded batches, shared prefixes, the passes themselves. Knows no prompt and no file."""
