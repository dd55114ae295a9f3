"""Maps, single fits, histograms and the inspector."""
