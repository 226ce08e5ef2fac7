"""Sets what torch reads once, when it is imported: idle OpenMP threads sleep, or tests crawl on a busy machine."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
