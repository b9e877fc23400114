"""A corpus of plain text for general distillation: read, tokenised once to disk, packed into rows or paired."""
