"""Pages: fetch through access, call one service, answer. A file per noun."""
