"""Many prompts on one model: rows of different tasks and tuned prompts in one pass. The prediction service stands on `answerer`."""
