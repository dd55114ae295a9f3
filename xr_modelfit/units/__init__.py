"""Units and times as files write them: read, converted, written."""
