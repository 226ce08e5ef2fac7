"""Every change of state, as keyword-only `<noun>_<verb>` functions. One file per noun; the only code that writes."""
