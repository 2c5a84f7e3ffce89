"""Side by side with what a user would do otherwise: medians, ratios and their spread."""
