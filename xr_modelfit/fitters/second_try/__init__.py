"""What is done with fits that failed: other starts, saddles, plateaus, kinks."""
