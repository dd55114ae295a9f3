"""The schema of a result, and the record of how it was made."""
