"""From an uploaded file to checked rows: parsing in a limited child, mapping of columns, splits, the data gate. Writes no rows."""
