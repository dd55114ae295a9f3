"""What tests of several folders share: tables of cases with right answers, data, and comparisons."""
