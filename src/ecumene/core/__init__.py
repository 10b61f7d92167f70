"""What every room stands on: errors, safe files, progress. No science here."""
