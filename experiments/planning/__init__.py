"""A comparison before it is stored: what a person asks for, what stands against it, what they should know. Writes nothing."""
