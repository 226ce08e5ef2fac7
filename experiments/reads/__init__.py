"""What pages, reports and the API show, read in few queries. Writes nothing."""
