"""Questions to a result: evaluate, components, derived quantities, predictions, report."""
