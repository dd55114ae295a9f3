"""Units of parameters: from the expression, the data, and what the user gives."""
