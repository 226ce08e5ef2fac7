"""One frozen backbone and the machine under it: loading, placing, proving it unchanged. Knows no prompt and no data."""
