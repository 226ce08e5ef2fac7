"""What a run is asked and what it says: plain values that read and write JSON. Standard library only."""
