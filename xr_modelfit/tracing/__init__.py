"""Model code called with symbols, and what is made of the expression: derivatives and source."""
