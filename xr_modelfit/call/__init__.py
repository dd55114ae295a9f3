"""`fit()`: names, units and starts resolved, blocks run, the result labelled."""
