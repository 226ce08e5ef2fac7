"""The demonstration: Banking77 as support triage, three hand-written prompts of different care, every kind of approach."""
