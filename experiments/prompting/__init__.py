"""The words of a hard prompt: slots, label words, examples, a first step, and what is wrong with them. Writes nothing."""
