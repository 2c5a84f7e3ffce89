"""What is registered: datasets, files, their columns and luminosity blocks, in a database."""
