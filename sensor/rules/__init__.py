"""Rules: Sigma files in, findings on activity out."""
