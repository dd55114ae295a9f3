"""What is found out about a model: derivatives, linearity, whether it sees one sample alone."""
